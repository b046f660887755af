import type {
  Connection,
  DidChangeTextDocumentParams,
  DidCloseTextDocumentParams,
  DidOpenTextDocumentParams,
  Range,
} from "vscode-languageserver/node";
import { canonicalUri } from "../document/uri.js";
import { messageOf } from "../files.js";
import type { Logger } from "../log.js";
import { EditedText } from "./editedText.js";

/** A document that the editor has open, in one state of its text. */
export interface OpenDocument {
  /** As the editor spelled it when it opened the document. */
  readonly uri: string;
  readonly languageId: string;
  readonly version: number;
  /** Changes in place; what it says is of this state until {@link changed} aborts. */
  readonly text: EditedText;
  /** Aborts when the text changes or the document is closed: positions of this state mean nothing any more. */
  readonly changed: AbortSignal;
}

interface Entry {
  readonly document: OpenDocument;
  readonly outdate: () => void;
}

/** What the editor has open, under every spelling of a document's URI. */
export class OpenDocuments {
  private readonly entries = new Map<string, Entry>();

  /** `onClosed` hears of every document that the editor closes. */
  constructor(
    private readonly log: Logger,
    private readonly onClosed: (uri: string) => void,
  ) {}

  listen(connection: Connection): void {
    connection.onDidOpenTextDocument((params) => this.opened(params));
    connection.onDidChangeTextDocument((params) => this.changed(params));
    connection.onDidCloseTextDocument((params) => this.closed(params));
  }

  get(uri: string): OpenDocument | undefined {
    return this.entries.get(canonicalUri(uri))?.document;
  }

  opened({ textDocument: { uri, languageId, version, text } }: DidOpenTextDocumentParams): void {
    this.become(uri, { uri, languageId, version, text: new EditedText(text) });
  }

  /** A change that cannot be understood makes the document unknown: no text is better than a wrong one. */
  changed({ textDocument, contentChanges }: DidChangeTextDocumentParams): void {
    const document = this.get(textDocument.uri);
    if (document === undefined) return;
    try {
      let { text } = document;
      for (const change of contentChanges) {
        // Absent, or null from clients that write out what they leave out.
        const { range } = change as { readonly range?: Range | null };
        if (range === undefined || range === null) text = new EditedText(change.text);
        else replace(text, range, change.text);
      }
      // Null from clients of the protocol's earlier versions.
      const version = (textDocument.version as number | null) ?? document.version + 1;
      this.become(document.uri, { uri: document.uri, languageId: document.languageId, version, text });
    } catch (error) {
      this.log.warn(`A change of a document was not understood (${messageOf(error)}); open it again for suggestions.`);
      this.remove(document.uri);
    }
  }

  closed({ textDocument: { uri } }: DidCloseTextDocumentParams): void {
    const document = this.get(uri);
    this.remove(uri);
    this.onClosed(document?.uri ?? uri);
  }

  private become(uri: string, state: Omit<OpenDocument, "changed">): void {
    const controller = new AbortController();
    const key = canonicalUri(uri);
    this.entries.get(key)?.outdate();
    this.entries.set(key, {
      document: { ...state, changed: controller.signal },
      outdate: () => controller.abort("superseded"),
    });
  }

  private remove(uri: string): void {
    const key = canonicalUri(uri);
    this.entries.get(key)?.outdate();
    this.entries.delete(key);
  }
}

function replace(text: EditedText, range: Range, by: string): void {
  const [start, end] = [range.start, range.end].map((position) => text.offsetAt(position)).sort((a, b) => a - b);
  text.replace(start!, end!, by);
}
