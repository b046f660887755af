import type { Filter } from "../filter.js";

/** Removes blanks at the end, and in lines that hold nothing else. */
export const trimTrailingWhitespace: Filter = {
  name: "trimTrailingWhitespace",
  apply: (text) => text.trimEnd().replace(/\n[ \t]+(?=\n)/g, "\n"),
};
