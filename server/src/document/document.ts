/** Text in UTF-16 units; a string is one. */
export interface DocumentText {
  readonly length: number;
  slice(start: number, end: number): string;
}

/** A document as the editor last described it. It may be large, so its text is only looked at in parts. */
export interface DocumentSource {
  readonly uri: string;
  readonly languageId: string;
  readonly version: number;
  readonly text: DocumentText;
}

/** An entry that is selected in the editor's suggestion list: a suggestion must begin with it. */
export interface SelectedCompletion {
  /** Offsets of the text that the entry replaces. */
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

/** A place in a document where something may be suggested. */
export interface DocumentPlace {
  readonly document: DocumentSource;
  /** Cursor, in UTF-16 units from the start of the document. */
  readonly offset: number;
  readonly selected?: SelectedCompletion;
}
