import type { DocumentPlace, DocumentText } from "./document.js";

/**
 * Read-only view of a document around the cursor. Line breaks are `\n` whatever the document has, because
 * models are trained so and editors put their own into what is accepted. Only a window is copied, so the size
 * of the document does not matter.
 */
export interface DocumentContext {
  readonly uri: string;
  readonly fileName: string;
  readonly languageId: string;
  readonly documentLength: number;
  /** Text before the cursor within the window, including a selected suggestion-list entry. */
  readonly prefix: string;
  /** Where the window begins in the document; 0 when it holds everything before the cursor. */
  readonly prefixStart: number;
  /** Text after the cursor within the window. */
  readonly suffix: string;
  /** The cursor's line, before and after the cursor. */
  readonly linePrefix: string;
  readonly lineSuffix: string;
  /** Offsets that a suggestion replaces, and text that it must begin with. */
  readonly replaceStart: number;
  readonly replaceEnd: number;
  readonly selectedText: string;
}

/** UTF-16 units kept before and after the cursor: more than any prompt holds. */
export const maxPrefixLength = 16_384;
export const maxSuffixLength = 6_144;
/** A window that would begin inside a very long line begins at a multiple of this, so that it moves in steps. */
const longLineStep = 1_024;

export type ContextProblem = "invalidPosition" | "binaryContent" | "selectedCompletionMismatch";

export function documentContext(place: DocumentPlace): DocumentContext | ContextProblem {
  const { document, selected, offset } = place;
  const { text } = document;
  const problem = checkPosition(text, offset) ?? checkSelected(place);
  if (problem !== undefined) return problem;

  const replaceStart = selected?.start ?? offset;
  const replaceEnd = selected?.end ?? offset;
  const selectedText = selected?.text ?? "";
  const prefixStart = windowStart(text, replaceStart);
  const rawPrefix = text.slice(prefixStart, replaceStart);
  const rawSuffix = text.slice(replaceEnd, windowEnd(text, replaceEnd));
  if (rawPrefix.includes("\0") || rawSuffix.includes("\0")) return "binaryContent";

  const prefix = toPlainLineBreaks(rawPrefix) + selectedText;
  const suffix = toPlainLineBreaks(rawSuffix);
  return {
    uri: document.uri,
    fileName: fileNameOf(document.uri),
    languageId: document.languageId,
    documentLength: text.length,
    prefix,
    prefixStart,
    suffix,
    linePrefix: prefix.slice(prefix.lastIndexOf("\n") + 1),
    lineSuffix: firstLine(suffix),
    replaceStart,
    replaceEnd,
    selectedText,
  };
}

export function toPlainLineBreaks(text: string): string {
  return text.includes("\r") ? text.replace(/\r\n?/g, "\n") : text;
}

export function firstLine(text: string): string {
  const end = text.indexOf("\n");
  return end < 0 ? text : text.slice(0, end);
}

/** Last part of a URI's path, decoded; never empty. */
export function fileNameOf(uri: string): string {
  const path = uri.replace(/[?#].*$/s, "");
  const name = path.slice(path.lastIndexOf("/") + 1).replace(/^[a-z][a-z0-9+.-]*:/i, "");
  try {
    return decodeURIComponent(name) || "untitled";
  } catch {
    return name;
  }
}

function checkPosition(text: DocumentText, offset: number): ContextProblem | undefined {
  const inside = Number.isInteger(offset) && offset >= 0 && offset <= text.length;
  return inside && !splitsCharacter(text, offset) ? undefined : "invalidPosition";
}

function checkSelected({ document, offset, selected }: DocumentPlace): ContextProblem | undefined {
  if (selected === undefined) return undefined;
  const { start, end, text } = selected;
  if (!(0 <= start && start <= offset && offset <= end && end <= document.text.length)) return "selectedCompletionMismatch";
  const typed = document.text.slice(start, offset);
  return text.startsWith(typed) && !/[\r\n]/.test(text) ? undefined : "selectedCompletionMismatch";
}

function windowStart(text: DocumentText, cursor: number): number {
  if (cursor <= maxPrefixLength) return 0;
  const earliest = cursor - maxPrefixLength;
  const lineBreak = text.slice(earliest, cursor).indexOf("\n");
  if (lineBreak >= 0) return earliest + lineBreak + 1;
  const step = Math.ceil(earliest / longLineStep) * longLineStep;
  return splitsCharacter(text, step) ? step + 1 : step;
}

function windowEnd(text: DocumentText, cursor: number): number {
  const latest = Math.min(text.length, cursor + maxSuffixLength);
  return splitsCharacter(text, latest) ? latest - 1 : latest;
}

/** True between the two halves of a surrogate pair. */
function splitsCharacter(text: DocumentText, offset: number): boolean {
  return offset > 0 && /^[\uD800-\uDBFF][\uDC00-\uDFFF]$/.test(text.slice(offset - 1, offset + 1));
}
