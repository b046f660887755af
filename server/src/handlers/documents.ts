import type { Connection, TextDocumentContentChangeEvent } from "vscode-languageserver/node";
import { TextDocuments } from "vscode-languageserver/node";
import { EditedText } from "./editedText.js";

/** A document that the editor has open. Its text changes in place. */
export interface OpenDocument {
  readonly uri: string;
  readonly languageId: string;
  readonly version: number;
  readonly text: EditedText;
}

export type OpenDocuments = TextDocuments<OpenDocument>;

export const openDocument = {
  create: (uri: string, languageId: string, version: number, content: string): OpenDocument => ({
    uri,
    languageId,
    version,
    text: new EditedText(content),
  }),

  update: (
    { uri, languageId, text }: OpenDocument,
    changes: readonly TextDocumentContentChangeEvent[],
    version: number,
  ): OpenDocument => {
    let changed = text;
    for (const change of changes) {
      if ("range" in change) {
        const [start, end] = [change.range.start, change.range.end].map((position) => changed.offsetAt(position)).sort((a, b) => a - b);
        changed.replace(start!, end!, change.text);
      } else {
        changed = new EditedText(change.text);
      }
    }
    return { uri, languageId, version, text: changed };
  },
};

/** Follows what the editor has open; `onClosed` hears of every document that it closes. */
export function followDocuments(connection: Connection, onClosed: (uri: string) => void): OpenDocuments {
  const documents = new TextDocuments(openDocument);
  documents.onDidClose(({ document }) => onClosed(document.uri));
  documents.listen(connection);
  return documents;
}
