import { type CodePlace, scanCode, spellingOf } from "../../document/code.js";
import type { Filter } from "../filter.js";

/**
 * Removes from the text's end what the rest of the cursor's line, or of the document, begins with; never a closing bracket
 * or quote whose opening one stays.
 */
export const trimSuffixOverlap: Filter = {
  name: "trimSuffixOverlap",
  apply: (text, { document }) => {
    const following = document.lineSuffix.trim() !== "" ? document.lineSuffix.trimEnd() : text.includes("\n") ? document.suffix : "";
    const spelling = spellingOf(document.languageId, following.startsWith(">"));
    const { literal } = scanCode(document.linePrefix, spelling);
    const placeAfter = (part: string) => scanCode(part, spelling, { open: "", literal });
    const whole = placeAfter(text);
    for (let length = Math.min(text.length, following.length); length > 0; length--) {
      const end = text.slice(text.length - length);
      const kept = text.slice(0, text.length - length);
      // Blanks alone are no overlap.
      if (following.startsWith(end) && end.trim() !== "" && leavesNothingOpen(placeAfter(kept), whole, literal)) return kept;
    }
    return text;
  },
};

function leavesNothingOpen(kept: CodePlace, whole: CodePlace, literal: string): boolean {
  return kept.open.length <= whole.open.length && (kept.literal === "" || kept.literal === literal);
}
