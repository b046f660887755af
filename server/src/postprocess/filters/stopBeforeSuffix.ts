import type { Filter } from "../filter.js";

/** Ends the text before a line that already stands after the cursor. */
export const stopBeforeSuffix: Filter = {
  name: "stopBeforeSuffix",
  apply: (text, { document, rule }) => {
    if (rule.nextLine === "") return text;
    const lines = text.split("\n");
    const repeat = lines.findIndex((line, index) => {
      const whole = index === 0 ? document.linePrefix + line : line;
      return whole.trimEnd() === rule.nextLine;
    });
    return repeat < 0 ? text : lines.slice(0, repeat).join("\n");
  },
};
