import type { Filter, FilterContext } from "./filter.js";
import { cutAtSuffixCloser } from "./filters/cutAtSuffixCloser.js";
import { cutInvalidCharacters } from "./filters/cutInvalidCharacters.js";
import { cutLoops } from "./filters/cutLoops.js";
import { cutSpecialTokens } from "./filters/cutSpecialTokens.js";
import { dropEmpty } from "./filters/dropEmpty.js";
import { dropRepeatedLines } from "./filters/dropRepeatedLines.js";
import { matchIndentation } from "./filters/matchIndentation.js";
import { plainLineBreaks } from "./filters/plainLineBreaks.js";
import { stopBeforeSuffix } from "./filters/stopBeforeSuffix.js";
import { trimSuffixOverlap } from "./filters/trimSuffixOverlap.js";
import { trimToExtent } from "./filters/trimToExtent.js";
import { trimTrailingWhitespace } from "./filters/trimTrailingWhitespace.js";

/** In the order in which they run: first what the model should not have written, then what the document already has. */
export const filters: readonly Filter[] = [
  cutSpecialTokens,
  cutInvalidCharacters,
  plainLineBreaks,
  matchIndentation,
  trimToExtent,
  stopBeforeSuffix,
  cutLoops,
  dropRepeatedLines,
  cutAtSuffixCloser,
  trimSuffixOverlap,
  trimTrailingWhitespace,
  dropEmpty,
];

export interface Filtered {
  readonly text: string;
  /** Names of the filters that changed the text, in order. */
  readonly changedBy: readonly string[];
}

export function postprocess(text: string, context: FilterContext): Filtered {
  const changedBy: string[] = [];
  let current = text;
  for (const filter of filters) {
    const next = filter.apply(current, context);
    if (next !== current) changedBy.push(filter.name);
    current = next;
  }
  return { text: current, changedBy };
}
