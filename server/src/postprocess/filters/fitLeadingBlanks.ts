import { indentationWidth } from "../../document/extent.js";
import type { DocumentContext } from "../../document/documentContext.js";
import type { Filter } from "../filter.js";

/** Blanks that the model writes first where the document has them already. */
export const fitLeadingBlanks: Filter = {
  name: "fitLeadingBlanks",
  apply: (text, { document }) => {
    const { linePrefix } = document;
    const written = /^[ \t]+/.exec(text)?.[0] ?? "";
    if (written === "" || !/[ \t]$/.test(linePrefix)) return text;
    return text.slice(written.length - (linePrefix.trim() === "" ? missingIndentation(document, written).length : 0));
  },
};

/** Of the blanks that were written, those that lead from a cursor left of its block to the block's indentation. */
function missingIndentation({ prefix, linePrefix }: DocumentContext, written: string): string {
  const above = prefix.slice(0, prefix.length - linePrefix.length).trimEnd();
  const wanted = indentationWidth(above.slice(above.lastIndexOf("\n") + 1));
  const missing = wanted - indentationWidth(linePrefix);
  if (missing <= 0 || indentationWidth(written) < missing) return "";
  for (let length = 1; length < written.length; length++) {
    if (indentationWidth(written.slice(0, length)) >= missing) return written.slice(0, length);
  }
  return written;
}
