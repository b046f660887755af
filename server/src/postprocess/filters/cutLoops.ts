import { scanCode, spellingOf } from "../../document/code.js";
import { firstRound } from "../../document/loop.js";
import type { Filter } from "../filter.js";

/**
 * Ends the text where a line goes round in circles: behind the first round, without the separator that would lead into the
 * next one, or before it where each round opens a bracket that none closes.
 */
export const cutLoops: Filter = {
  name: "cutLoops",
  apply: (text, { document }) => {
    const round = firstRound(text);
    if (round === undefined) return text;
    const [start, end] = round;
    if (scanCode(text.slice(start, end), spellingOf(document.languageId)).open !== "") return text.slice(0, start);
    const kept = text.slice(0, end);
    // The end of `&nbsp;` separates nothing.
    return /&#?\w+;$/.test(kept) ? kept : kept.replace(/[\s,;&|+.=<>-]+$/, "");
  },
};
