import type { Filter } from "../filter.js";

/** Filled lines above the cursor that are looked at. */
const linesAbove = 20;
/** Longest sequence of lines whose immediate repetition is a loop. */
const longestPeriod = 10;
/** Shorter sequences (brackets, `else`, `pass`) repeat in honest code. */
const tellingLength = 8;

/** Ends the text where it repeats, line by line, what was written immediately before. */
export const dropRepeatedLines: Filter = {
  name: "dropRepeatedLines",
  apply: (text, { document }) => {
    const above = document.prefix.slice(0, document.prefix.length - document.linePrefix.length);
    const known = above.split("\n").filter((line) => line.trim() !== "").slice(-linesAbove);
    const lines = text.split("\n");
    const sequence = [...known, document.linePrefix + lines[0]!, ...lines.slice(1)].map((line) => line.trim());
    for (let end = known.length + 1; end <= sequence.length; end++) {
      const period = repeatedPeriod(sequence.slice(0, end));
      if (period !== undefined) return lines.slice(0, Math.max(0, end - known.length - period)).join("\n");
    }
    return text;
  },
};

/** Length of the sequence that the lines end with twice, or undefined. */
function repeatedPeriod(lines: readonly string[]): number | undefined {
  for (let period = 1; period <= longestPeriod && 2 * period <= lines.length; period++) {
    const last = lines.slice(-period).join("\n");
    if (last.length >= tellingLength && last === lines.slice(-2 * period, -period).join("\n")) return period;
  }
  return undefined;
}
