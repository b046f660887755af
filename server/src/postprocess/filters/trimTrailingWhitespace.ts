import type { Filter } from "../filter.js";

/** What needs no blank before it. */
const standsAlone = /^(?:\s|[)\]}>;,:.'"`]|$)/;

/** Removes blanks in lines that hold nothing else, and at the end unless the rest of the cursor's line goes on behind them. */
export const trimTrailingWhitespace: Filter = {
  name: "trimTrailingWhitespace",
  apply: (text, { document }) => {
    const blanks = /\s*$/.exec(text)![0];
    const needed = blanks !== text && !blanks.includes("\n") && !standsAlone.test(document.lineSuffix);
    return text.trimEnd().replace(/\n[ \t]+(?=\n)/g, "\n") + (needed ? blanks : "");
  },
};
