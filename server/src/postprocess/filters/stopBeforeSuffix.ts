import { indentationWidth } from "../../document/extent.js";
import type { Filter } from "../filter.js";

/** Ends the text before a line that already stands after the cursor, be it with another comment or spacing. */
export const stopBeforeSuffix: Filter = {
  name: "stopBeforeSuffix",
  apply: (text, { document, rule }) => {
    // A bracket that opens begins many different lines.
    if (rule.nextLine === "" || /^\s*[{[(]+$/.test(rule.nextLine)) return text;
    const next = essenceOf(rule.nextLine);
    const lines = text.split("\n");
    const repeat = lines.findIndex((line, index) => essenceOf(index === 0 ? document.linePrefix + line : line) === next);
    return repeat < 0 ? text : lines.slice(0, repeat).join("\n");
  },
};

/** What a line says at its indentation, without spacing and a comment behind it. */
function essenceOf(line: string): string {
  const code = line.replace(/(?<=\S)\s+(?:#|\/\/|--)\s.*$/, "");
  return `${indentationWidth(line)} ${code.trim().replace(/\s+/g, " ")}`;
}
