import type { Filter } from "../filter.js";

/**
 * What nobody sees or what was no text: controls but tab and line breaks, line ends that editors warn of, marks that turn
 * the direction of writing, characters without width or meaning, halves of characters.
 */
const invalid = /[\ufffd\u3164\u115f\u1160\uffa0]|(?![\t\n\r\u200c\u200d])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]|\p{Noncharacter_Code_Point}|\p{Surrogate}/u;
/** Joiners that bind nothing: they belong between characters of emoji and of scripts beyond Latin only. */
const loneJoiner = /(?<![\u0300-\u{10ffff}])[\u200c\u200d]|[\u200c\u200d](?![\u0300-\u{10ffff}])/u;

/** Ends the text where it stops being text. */
export const cutInvalidCharacters: Filter = {
  name: "cutInvalidCharacters",
  apply: (text) => {
    const ends = [invalid, loneJoiner].map((pattern) => pattern.exec(text)?.index ?? text.length);
    return text.slice(0, Math.min(...ends));
  },
};
