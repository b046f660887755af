import {
  type CancellationToken,
  type InlineCompletionItem,
  type InlineCompletionParams,
  InlineCompletionTriggerKind,
  type Position,
} from "vscode-languageserver/node";
import { suggestionAcceptedCommand } from "../../protocol/messages.js";
import type { PipoSettings } from "../../protocol/settings.js";
import type { CompletionRequest, CompletionResult, Suggestion } from "../completion/result.js";
import type { SelectedCompletion } from "../document/document.js";
import { abortSignalOf } from "./cancellation.js";
import type { OpenDocument } from "./documents.js";

/** What an inline completion request needs from its surroundings. */
export interface InlineCompletionHost {
  document(uri: string): OpenDocument | undefined;
  settingsFor(uri: string): Promise<PipoSettings>;
  complete(request: CompletionRequest): Promise<CompletionResult>;
}

/** Answers `textDocument/inlineCompletion`: LSP types outside, the domain's types inside. */
export async function handleInlineCompletion(
  host: InlineCompletionHost,
  params: InlineCompletionParams,
  token: CancellationToken,
): Promise<InlineCompletionItem[] | null> {
  const document = host.document(params.textDocument.uri);
  if (document === undefined) return null;
  const withdrawn = AbortSignal.any([abortSignalOf(token), document.changed]);
  const settings = await host.settingsFor(document.uri);
  // Where the text has changed meanwhile, the request is withdrawn: its position means nothing any more, nor does an answer.
  const result = await host.complete(toRequest(document, params, settings, withdrawn));
  return result.kind === "suggestion" && !document.changed.aborted ? [toItem(document, result.suggestion)] : null;
}

export function toRequest(
  document: OpenDocument,
  { position, context }: InlineCompletionParams,
  settings: PipoSettings,
  signal: AbortSignal,
): CompletionRequest {
  const { selectedCompletionInfo: selected } = context;
  return {
    document,
    offset: offsetOf(document, position),
    position: { line: position.line, character: position.character },
    invoked: context.triggerKind === InlineCompletionTriggerKind.Invoked,
    ...(selected && { selected: toSelected(document, selected) }),
    settings,
    signal,
  };
}

export function toItem({ text: inDocument }: OpenDocument, { id, text, start, end }: Suggestion): InlineCompletionItem {
  return {
    insertText: text,
    range: { start: inDocument.positionAt(start), end: inDocument.positionAt(end) },
    command: { title: "Suggestion accepted", command: suggestionAcceptedCommand, arguments: [id] },
  };
}

function toSelected(
  document: OpenDocument,
  { range, text }: NonNullable<InlineCompletionParams["context"]["selectedCompletionInfo"]>,
): SelectedCompletion {
  return { start: offsetOf(document, range.start), end: offsetOf(document, range.end), text };
}

/** Offset of a position; beyond a line's end means its end, as the protocol says; −1 outside the document. */
function offsetOf({ text }: OpenDocument, { line, character }: Position): number {
  const inside = Number.isInteger(line) && Number.isInteger(character) && line >= 0 && character >= 0;
  return inside && line < text.lineCount ? text.offsetAt({ line, character }) : -1;
}
