import type { ExtentRule } from "../document/extent.js";
import type { DocumentContext } from "../document/documentContext.js";

/** What a filter may look at beside the text. */
export interface FilterContext {
  readonly document: DocumentContext;
  readonly rule: ExtentRule;
}

/** Takes the text of a suggestion, gives a shorter or repaired one; an empty text means there is nothing to suggest. */
export interface Filter {
  readonly name: string;
  readonly apply: (text: string, context: FilterContext) => string;
}
