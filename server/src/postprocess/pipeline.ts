import type { Filter, FilterContext } from "./filter.js";
import { cutAtCloser } from "./filters/cutAtCloser.js";
import { cutInvalidCharacters } from "./filters/cutInvalidCharacters.js";
import { cutLoops } from "./filters/cutLoops.js";
import { cutSpecialTokens } from "./filters/cutSpecialTokens.js";
import { dropEcho } from "./filters/dropEcho.js";
import { dropEmpty } from "./filters/dropEmpty.js";
import { dropFence } from "./filters/dropFence.js";
import { dropRepeatedLines } from "./filters/dropRepeatedLines.js";
import { fitLeadingBlanks } from "./filters/fitLeadingBlanks.js";
import { plainLineBreaks } from "./filters/plainLineBreaks.js";
import { stopBeforeSuffix } from "./filters/stopBeforeSuffix.js";
import { trimSuffixOverlap } from "./filters/trimSuffixOverlap.js";
import { trimToExtent } from "./filters/trimToExtent.js";
import { trimTrailingWhitespace } from "./filters/trimTrailingWhitespace.js";
import { unifyIndentation } from "./filters/unifyIndentation.js";

/** In the order in which they run: first what the model should not have written, then what the document already has. */
export const filters: readonly Filter[] = [
  cutSpecialTokens,
  cutInvalidCharacters,
  plainLineBreaks,
  dropFence,
  dropEcho,
  fitLeadingBlanks,
  unifyIndentation,
  trimToExtent,
  stopBeforeSuffix,
  cutLoops,
  dropRepeatedLines,
  cutAtCloser,
  trimSuffixOverlap,
  trimTrailingWhitespace,
  dropEmpty,
];

/** What is left of a finished suggestion meets a document in which the editor may have closed a bracket meanwhile. */
const refitting: readonly Filter[] = [cutAtCloser, trimSuffixOverlap, dropEmpty];

export interface Filtered {
  readonly text: string;
  /** Names of the filters that changed the text, in order. */
  readonly changedBy: readonly string[];
}

export function postprocess(text: string, context: FilterContext): Filtered {
  return applied(filters, text, context);
}

/** The rest of a suggestion that has been through {@link postprocess}, fitted to the document as it is now. */
export function refit(text: string, context: FilterContext): string {
  return applied(refitting, text, context).text;
}

function applied(chain: readonly Filter[], text: string, context: FilterContext): Filtered {
  const changedBy: string[] = [];
  let current = text;
  for (const filter of chain) {
    const next = filter.apply(current, context);
    if (next !== current) changedBy.push(filter.name);
    current = next;
  }
  return { text: current, changedBy };
}
