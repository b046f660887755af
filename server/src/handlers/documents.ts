import type { Connection } from "vscode-languageserver/node";
import { TextDocuments } from "vscode-languageserver/node";
import { TextDocument } from "vscode-languageserver-textdocument";

export type OpenDocuments = TextDocuments<TextDocument>;

/** Follows what the editor has open; `onClosed` hears of every document that it closes. */
export function followDocuments(connection: Connection, onClosed: (uri: string) => void): OpenDocuments {
  const documents = new TextDocuments(TextDocument);
  documents.onDidClose(({ document }) => onClosed(document.uri));
  documents.listen(connection);
  return documents;
}
