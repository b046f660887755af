import type { Filter } from "../filter.js";

/** Bytes that were no text, control characters but tab and line breaks, halves of characters. */
const invalid = /[\ufffd\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]|\p{Surrogate}/u;

/** Ends the text where it stops being text. */
export const cutInvalidCharacters: Filter = {
  name: "cutInvalidCharacters",
  apply: (text) => {
    const found = invalid.exec(text);
    return found === null ? text : text.slice(0, found.index);
  },
};
