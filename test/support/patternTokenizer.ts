import type { Tokenizer } from "../../server/src/tokenizer/tokenizer.js";
import { CharacterTokenizer } from "./fakeEngine.js";

/** How the bundled model's tokenizer splits text: a line break keeps the indentation after it. */
export const bundledPattern = /[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+|\s*[\r\n]+[ \t]*|\s+(?!\S)|\s+/gu;
/** How Qwen's splits it: punctuation keeps the line break after it. */
export const qwenPattern = /(?:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+/giu;
/** The same with the blanks of Unicode, as tokenizers have them. */
export const unicodeQwenPattern = new RegExp(
  qwenPattern.source.replaceAll("\\s", "\\p{White_Space}").replaceAll("\\S", "\\P{White_Space}"),
  "giu",
);
/** One that glues everything between blank lines together: no line can be tokenized alone. */
export const paragraphPattern = /[^]+?\n\n|[^]+/gu;

/** One id per match of a pattern: shows where a tokenizer's words begin and end. */
export class PatternTokenizer extends CharacterTokenizer implements Tokenizer {
  private readonly idsByWord = new Map<string, number>();

  constructor(private readonly pattern: RegExp) {
    super();
  }

  override encode(text: string): Int32Array {
    this.encoded += text.length;
    return Int32Array.from(text.match(this.pattern) ?? [], (word) => this.idOfWord(word));
  }

  private idOfWord(word: string): number {
    const known = this.idsByWord.get(word) ?? 100 + this.idsByWord.size;
    this.idsByWord.set(word, known);
    return known;
  }
}
