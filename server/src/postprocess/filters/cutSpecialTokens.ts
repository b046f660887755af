import type { Filter } from "../filter.js";

/** Names of control tokens of all families, and of the tokens that open thoughts and calls. */
const controlToken =
  /<\|[A-Za-z_]+\|>|<｜[^｜\n]{1,40}｜>|<fim_[a-z]+>|<\[fim-[a-z]+\]>|<\/?(?:think|tool_call|tool_response)>| ?<(?:PRE|SUF|MID|EOT)>|\[(?:PREFIX|SUFFIX|MIDDLE)\]/g;

/** Ends the text at the name of a control token, which never belongs to code that a model means. */
export const cutSpecialTokens: Filter = {
  name: "cutSpecialTokens",
  apply: (text, { document }) => {
    // A document about such tokens may name them.
    const named = (token: string) => document.prefix.includes(token) || document.suffix.includes(token);
    const found = [...text.matchAll(controlToken)].find(([token]) => !named(token));
    return found === undefined ? text : text.slice(0, found.index);
  },
};
