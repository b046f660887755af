import { startOfLoop } from "../../document/loop.js";
import type { Filter } from "../filter.js";

/** Ends the text where a line goes round in circles, without the separator that would lead into the next round. */
export const cutLoops: Filter = {
  name: "cutLoops",
  apply: (text) => {
    const start = startOfLoop(text);
    return start === undefined ? text : text.slice(0, start).replace(/[\s,;&|+.=<>-]+$/, "");
  },
};
