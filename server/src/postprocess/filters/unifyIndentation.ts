import type { DocumentContext } from "../../document/documentContext.js";
import type { Filter } from "../filter.js";

/** Columns of a tab, and spaces of a level where the document does not show its own. */
const usualLevel = 4;

/** Later lines are indented with what the document is indented with: tabs or spaces. */
export const unifyIndentation: Filter = {
  name: "unifyIndentation",
  apply: (text, { document }) => {
    if (!text.includes("\n")) return text;
    const [head = "", ...lines] = text.split("\n");
    const unit = indentationUnit(document);
    if (unit === undefined) return text;
    return [head, ...lines.map((line) => line.replace(/^[ \t]+/, (blanks) => indentedWith(unit, blanks)))].join("\n");
  },
};

function indentedWith(unit: string, blanks: string): string {
  if (unit !== "\t") return blanks.replaceAll("\t", unit);
  // Spaces beyond whole levels align, and stay.
  return blanks.includes(" ".repeat(usualLevel)) ? blanks.replaceAll(" ".repeat(usualLevel), "\t") : blanks;
}

/** A tab, or the spaces of one level: those of the indented line nearest to the cursor. Undefined where no line is indented. */
function indentationUnit({ prefix, suffix }: DocumentContext): string | undefined {
  const blanks = [...prefix.split("\n").reverse(), ...suffix.split("\n").slice(1)]
    .map((line) => /^[ \t]+/.exec(line)?.[0])
    .filter((found) => found !== undefined);
  if (blanks[0] === undefined) return undefined;
  if (blanks[0].startsWith("\t")) return "\t";
  const narrowest = Math.min(...blanks.filter((found) => !found.includes("\t") && found.length > 1).map((found) => found.length));
  return " ".repeat(narrowest <= 8 ? narrowest : usualLevel);
}
