import type { Filter } from "../filter.js";

/** Shorter beginnings of a line, and words, come twice in honest code. */
const shortestLine = 6;
const shortestWord = 3;

/** Removes from the text's beginning what the cursor's line says already: all of it, or its last word. */
export const dropEcho: Filter = {
  name: "dropEcho",
  apply: (text, { document: { linePrefix } }) => {
    const line = linePrefix.trim();
    const written = text.trimStart();
    if (line.length >= shortestLine && line.includes(" ") && written.startsWith(line)) return written.slice(line.length);
    const word = /[\p{L}\p{N}_$]+$/u.exec(linePrefix)?.[0] ?? "";
    return word.length >= shortestWord && text.startsWith(word) ? text.slice(word.length) : text;
  },
};
