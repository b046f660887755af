import type { Filter } from "../filter.js";

/** Where the cursor stands after its line's indentation, blanks that the model writes first would indent twice. */
export const matchIndentation: Filter = {
  name: "matchIndentation",
  apply: (text, { document }) => (/^[ \t]+$/.test(document.linePrefix) ? text.replace(/^[ \t]+/, "") : text),
};
