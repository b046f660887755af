import type { Filter } from "../filter.js";

/** Removes from the text's end what the rest of the cursor's line, or of the document, begins with. */
export const trimSuffixOverlap: Filter = {
  name: "trimSuffixOverlap",
  apply: (text, { document }) => {
    const lineSuffix = document.lineSuffix.trim();
    if (lineSuffix !== "") return withoutOverlap(text, document.lineSuffix.trimEnd());
    return text.includes("\n") ? withoutOverlap(text, document.suffix) : text;
  },
};

/** `text` without its longest end that `following` begins with; blanks alone do not count as overlap. */
function withoutOverlap(text: string, following: string): string {
  for (let length = Math.min(text.length, following.length); length > 0; length--) {
    const end = text.slice(text.length - length);
    if (following.startsWith(end) && end.trim() !== "") return text.slice(0, text.length - length);
  }
  return text;
}
