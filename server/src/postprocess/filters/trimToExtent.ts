import { endOfExtent } from "../../document/extent.js";
import type { Filter } from "../filter.js";

/** Keeps the first line or the block, whatever the model wrote after it. */
export const trimToExtent: Filter = {
  name: "trimToExtent",
  apply: (text, { rule }) => text.slice(0, endOfExtent(text, rule, /*complete=*/ true)),
};
