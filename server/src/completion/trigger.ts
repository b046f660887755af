import type { EmptyReason } from "../../protocol/messages.js";
import type { CompletionSettings } from "../../protocol/settings.js";
import type { DocumentContext } from "../document/documentContext.js";
import type { Extent } from "../document/extent.js";

const wordCharacter = /[\p{L}\p{N}_$]/u;
/** What may stand after the cursor: closing brackets and quotes, separators, blanks. */
const onlyClosers = /^[\s)\]}>"'`;,:]*$/;
const opensBlock = /(?:[{([:]|=>|\b(?:do|then|else|begin))\s*$/;

/**
 * Whether typing at this place should ask for a suggestion; a user who asks explicitly always may.
 * Few places, so that suggestions appear where people stop to think and not while they edit.
 */
export function refusalByTrigger(context: DocumentContext, invoked: boolean): EmptyReason | undefined {
  if (invoked) return undefined;
  if (isBlank(context.prefix) && isBlank(context.suffix)) return "emptyDocument";
  if (wordCharacter.test(firstCharacter(context.lineSuffix))) {
    return wordCharacter.test(lastCharacter(context.linePrefix)) ? "midWord" : "midLine";
  }
  return onlyClosers.test(context.lineSuffix) ? undefined : "midLine";
}

/**
 * A block where the rest of the line is empty and the cursor stands on an empty line or after something
 * that opens a block; otherwise one line.
 */
export function extentOf(context: DocumentContext, settings: CompletionSettings): Extent {
  if (settings.multiline === "never" || settings.maxLines < 2 || !isBlank(context.lineSuffix)) return "line";
  return isBlank(context.linePrefix) || opensBlock.test(context.linePrefix) ? "block" : "line";
}

export function isBlank(text: string): boolean {
  return !/\S/.test(text);
}

function firstCharacter(text: string): string {
  const point = text.codePointAt(0);
  return point === undefined ? "" : String.fromCodePoint(point);
}

function lastCharacter(text: string): string {
  return /[\uD800-\uDBFF][\uDC00-\uDFFF]$/.test(text) ? text.slice(-2) : text.slice(-1);
}
