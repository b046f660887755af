import { startOfLoop } from "../../document/loop.js";
import type { Filter } from "../filter.js";

/** Ends the text where a line goes round in circles, without the separator that would lead into the next round. */
export const cutLoops: Filter = {
  name: "cutLoops",
  apply: (text) => {
    const start = startOfLoop(text);
    if (start === undefined) return text;
    const round = text.slice(0, start);
    // The end of `&nbsp;` separates nothing.
    return /&#?\w+;$/.test(round) ? round : round.replace(/[\s,;&|+.=<>-]+$/, "");
  },
};
