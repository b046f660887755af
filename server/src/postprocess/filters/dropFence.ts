import { openingFence } from "../../document/extent.js";
import type { Filter } from "../filter.js";

/** Takes off the fences that a model puts around code when it believes to be in a conversation. */
export const dropFence: Filter = {
  name: "dropFence",
  apply: (text, { rule }) => {
    if (!rule.fenced) return text;
    const inside = text.slice(openingFence(text, /*complete=*/ true));
    const end = inside.search(/(?:^|\n)[ \t]*```/);
    return end < 0 ? inside : inside.slice(0, end);
  },
};
