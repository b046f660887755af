import { LRUCache } from "lru-cache";
import type { Tokenizer } from "../tokenizer/tokenizer.js";

/** Text of one chunk at most; only very long lines are longer, and are cut here whatever stands there. */
const maxChunkLength = 512;
/** Characters whose ids are remembered. */
const maxCachedCharacters = 1_000_000;

/**
 * Where text may be cut so that the ids of the parts are the ids of the whole. It depends on the tokenizer:
 * one glues a line break to the indentation after it, another to the punctuation before it.
 */
const cutRules: readonly RegExp[] = [/(?<=\S)(?=\s*\n)/, /(?<=\n)(?=[^\S\n]*\S)/];

const sample = "def f(a, b):\n    if a:\n        return {\n            'x': 1;\n        }\n\n\n\tend  \n  \n// ok;\r\n  last()\n";

/** Text to ids, line by line and remembered, so that a keystroke costs the ids of one line. */
export class ChunkedTokenizer {
  private readonly ids: LRUCache<string, Int32Array>;
  private readonly cut: RegExp | undefined;

  constructor(readonly tokenizer: Tokenizer) {
    this.cut = cutRules.find((rule) => agreesWith(tokenizer, rule));
    this.ids = new LRUCache({ maxSize: maxCachedCharacters, sizeCalculation: (_ids, text) => text.length + 1 });
  }

  /** Whether parts are remembered; otherwise every text is tokenized as a whole. */
  get chunked(): boolean {
    return this.cut !== undefined;
  }

  /** Parts of `text` that may be tokenized alone. Empty text has none. */
  split(text: string): readonly string[] {
    if (text === "") return [];
    if (this.cut === undefined) return [text];
    return text.split(this.cut).flatMap(splitLong);
  }

  /** Ids of one part of {@link split}. The array is shared: read only. */
  encodePart(part: string): Int32Array {
    let ids = this.ids.get(part);
    if (ids === undefined) {
      ids = this.tokenizer.encode(part);
      this.ids.set(part, ids);
    }
    return ids;
  }

  encode(text: string): readonly Int32Array[] {
    return this.split(text).map((part) => this.encodePart(part));
  }
}

function agreesWith(tokenizer: Tokenizer, rule: RegExp): boolean {
  const whole = tokenizer.encode(sample);
  const parts = sample.split(rule).flatMap((part) => [...tokenizer.encode(part)]);
  return parts.length === whole.length && parts.every((id, index) => id === whole[index]);
}

function splitLong(part: string): readonly string[] {
  if (part.length <= maxChunkLength) return [part];
  const pieces: string[] = [];
  for (let start = 0; start < part.length; ) {
    let end = Math.min(part.length, start + maxChunkLength);
    if (end < part.length && /[\uD800-\uDBFF]/.test(part[end - 1]!)) end -= 1;
    pieces.push(part.slice(start, end));
    start = end;
  }
  return pieces;
}
