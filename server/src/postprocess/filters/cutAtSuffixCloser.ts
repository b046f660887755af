import type { Filter } from "../filter.js";

const openerOf: Readonly<Record<string, string>> = { ")": "(", "]": "[", "}": "{" };
const openers = new Set(Object.values(openerOf));

/** Ends the text before a closing bracket that the text did not open and that already stands after the cursor. */
export const cutAtSuffixCloser: Filter = {
  name: "cutAtSuffixCloser",
  apply: (text, { document }) => {
    const next = document.lineSuffix.trimStart().slice(0, 1);
    if (!(next in openerOf)) return text;
    const open: string[] = [];
    for (const [index, character] of [...text].entries()) {
      if (openers.has(character)) open.push(character);
      if (!(character in openerOf)) continue;
      if (open.at(-1) === openerOf[character]) open.pop();
      else if (character === next) return [...text].slice(0, index).join("");
    }
    return text;
  },
};
