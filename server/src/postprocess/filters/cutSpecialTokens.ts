import type { Filter } from "../filter.js";

const controlToken = /<\|[a-z_]+\|>/;

/** Ends the text at the name of a control token, which never belongs to code that a model means. */
export const cutSpecialTokens: Filter = {
  name: "cutSpecialTokens",
  apply: (text, { document }) => {
    const found = controlToken.exec(text);
    // A document about such tokens may name them.
    return found === null || document.prefix.includes(found[0]) ? text : text.slice(0, found.index);
  },
};
