import type { Filter } from "../filter.js";

/** Blanks and lone separators are not worth a ghost. */
export const dropEmpty: Filter = {
  name: "dropEmpty",
  apply: (text) => (/[^\s]/.test(text) ? text : ""),
};
