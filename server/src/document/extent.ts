import type { DocumentContext } from "./documentContext.js";

/** How far a suggestion may reach: to the end of the line, or over a block. */
export type Extent = "line" | "block";

/**
 * Where a suggestion ends. One line: at its line break. A block: at a blank line, before a line that is
 * indented less than the block, or after the line of closing brackets that ends it.
 */
export interface ExtentRule {
  readonly extent: Extent;
  readonly maxLines: number;
  /** The cursor's line before the cursor; what is generated continues it. */
  readonly linePrefix: string;
  /** First line after the cursor's that is not blank, with its indentation. */
  readonly nextLine: string;
  /** Whether a fence around the text belongs to a conversation and not to the document. */
  readonly fenced: boolean;
}

const fencedLanguages = /^(?:markdown|mdx|restructuredtext|asciidoc|plaintext)$/;

const closersOnly = /^[)\]}]+[;,]?$/;
const tabWidth = 4;

export function extentRule(context: DocumentContext, extent: Extent, maxLines: number): ExtentRule {
  return {
    extent,
    maxLines: extent === "line" ? 1 : maxLines,
    linePrefix: context.linePrefix,
    nextLine: nextFilledLine(context.suffix),
    fenced: context.linePrefix.trim() === "" && !fencedLanguages.test(context.languageId),
  };
}

/** Length of the line with which a model opens a fence, its break included; undefined while it may still become one. */
export function openingFence(text: string, complete: boolean): number | undefined {
  const line = /^\s*```[\w+#-]*[ \t]*(\n|$)/.exec(text);
  if (line === null) return 0;
  return line[1] === "" && !complete ? undefined : line[0].length;
}

/**
 * Length of `text` that belongs to the suggestion, or undefined while more may belong to it.
 * `text` begins at the cursor. With `complete` the text will not grow, so its last line counts as whole.
 */
export function endOfExtent(text: string, rule: ExtentRule, complete: boolean): number | undefined {
  const fence = rule.fenced ? openingFence(text, complete) : 0;
  if (fence === undefined) return undefined;
  const end = endOfCode(text.slice(fence), rule, complete);
  return end === undefined ? undefined : fence + end;
}

function endOfCode(text: string, rule: ExtentRule, complete: boolean): number | undefined {
  const [head = "", ...lines] = text.split("\n");
  if (rule.extent === "line") return lines.length > 0 ? head.length : undefined;
  const minIndentation = indentationOfBlock(rule.linePrefix, head);
  let end = head.length;
  let filled = head.trim() === "" ? 0 : 1;
  for (const [index, line] of lines.entries()) {
    if (filled >= rule.maxLines) return end;
    const whole = complete || index < lines.length - 1;
    const blank = line.trim() === "";
    // A break right after the cursor opens the block; a later empty line ends it.
    if (blank && whole && (index > 0 || filled > 0)) return end;
    if (!blank && indentationWidth(line) < minIndentation) {
      if (!closersOnly.test(line.trim())) return end;
      if (!whole) return undefined;
      return isClosedBy(rule.nextLine, line) ? end : end + 1 + line.length;
    }
    if (whole) end += 1 + line.length;
    if (!blank) filled += 1;
  }
  return undefined;
}

/** Whether the document's next line begins, at the same place, with the bracket that a line of the text begins with. */
function isClosedBy(nextLine: string, line: string): boolean {
  return indentationWidth(nextLine) === indentationWidth(line) && nextLine.trim()[0] === line.trim()[0];
}

/** Least indentation of the block's lines: that of the line it fills, or more than that of the line that opens it. */
function indentationOfBlock(linePrefix: string, head: string): number {
  if (linePrefix === "") return indentationWidth(head);
  return linePrefix.trim() === "" ? indentationWidth(linePrefix) : indentationWidth(linePrefix) + 1;
}

/** Width of a line's leading blanks, a tab counting as four. */
export function indentationWidth(line: string): number {
  let width = 0;
  for (const character of line) {
    if (character === "\t") width += tabWidth;
    else if (character === " ") width += 1;
    else break;
  }
  return width;
}

/** First line after the cursor's that is not blank, without trailing blanks; empty when there is none. */
export function nextFilledLine(suffix: string): string {
  return suffix.split("\n").slice(1).find((line) => line.trim() !== "")?.trimEnd() ?? "";
}
