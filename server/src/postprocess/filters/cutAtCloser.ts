import { openerOf, scanCode, type Spelling, spellingOf } from "../../document/code.js";
import type { DocumentContext } from "../../document/documentContext.js";
import type { Filter } from "../filter.js";

/**
 * Ends the text before a closing bracket or quote that it did not open itself and that already stands after the cursor,
 * or that nothing before the cursor opened.
 */
export const cutAtCloser: Filter = {
  name: "cutAtCloser",
  apply: (text, { document }) => {
    const following = document.lineSuffix.trimStart().slice(0, 1);
    const spelling = spellingOf(document.languageId, following === ">");
    const { literal } = scanCode(document.linePrefix, spelling);
    let openBefore: string | undefined;
    let end = text.length;
    scanCode(text, spelling, { open: "", literal }, {
      literalEnd: (index) => {
        if (!document.lineSuffix.startsWith(literal)) return false;
        end = index;
        return true;
      },
      unopened: (closer, index) => {
        openBefore ??= openBrackets(document, spelling);
        const opener = openBefore.lastIndexOf(openerOf[closer]!);
        if (closer === following || opener < 0) {
          end = index;
          return true;
        }
        openBefore = openBefore.slice(0, opener);
        return false;
      },
    });
    return text.slice(0, end);
  },
};

/** Brackets that are open at the cursor. Where that cannot be known, every kind may be, often. */
function openBrackets({ prefix, prefixStart }: DocumentContext, spelling: Spelling): string {
  const unknown = "<{[(".repeat(64);
  if (prefixStart > 0 || spelling.prose) return unknown;
  const { open, literal } = scanCode(prefix, spelling);
  return literal === "" ? open : unknown;
}
