import { LRUCache } from "lru-cache";
import { ownText } from "../ownText.js";
import type { Tokenizer } from "../tokenizer/tokenizer.js";

/** Text of one chunk at most; only very long lines are longer, and are cut here whatever stands there. */
const maxChunkLength = 512;
/** What the cache may keep alive, in bytes, and what an entry takes beside its characters and ids. */
const maxCachedBytes = 4_000_000;
const entryBytes = 300;

/**
 * Where text may be cut so that the ids of the parts are the ids of the whole. It depends on the tokenizer: one glues a
 * line break to the indentation after it, another to the punctuation before it. Blanks are those of Unicode, as
 * tokenizers know them.
 */
const cutRules: readonly RegExp[] = [
  /(?<=\P{White_Space})(?=\p{White_Space}*\n)/u,
  /(?<=\n)(?=[^\P{White_Space}\r\n]*\P{White_Space})/u,
];

/** What tells rules apart: line breaks behind letters, digits, punctuation and symbols, with blanks on either side. */
const sample = [
  "def f(a, b):\n    if a:\n        return {\n            'x': 1;\n        }\n\n\n\tend  \n  \n// ok;\r\n  last()\n",
  "a = \n  b + \n\t\tc;  \n\u00a0d\u00a0\n\u3000e;\n\n  12\n 3\r\n\r\n  x \r\n\r\n}\r\n",
  "e\u0301\n\u6570\u5b66\n  \u6570\u3002\n$\n  $ \n\n\n    y\n\u0085z\u0085\n w",
].join("");

/** Text to ids, line by line and remembered, so that a keystroke costs the ids of one line. */
export class ChunkedTokenizer {
  private readonly ids: LRUCache<string, Int32Array>;
  private readonly cut: RegExp | undefined;

  constructor(readonly tokenizer: Tokenizer) {
    this.cut = cutRules.find((rule) => agreesWith(tokenizer, rule));
    this.ids = new LRUCache({ maxSize: maxCachedBytes, sizeCalculation: keptBytes });
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
      this.ids.set(ownText(part), ids);
    }
    return ids;
  }

  encode(text: string): readonly Int32Array[] {
    return this.split(text).map((part) => this.encodePart(part));
  }
}

function keptBytes(ids: Int32Array, text: string): number {
  return entryBytes + 2 * text.length + ids.byteLength;
}

function agreesWith(tokenizer: Tokenizer, rule: RegExp): boolean {
  const parts = sample.split(rule);
  const whole = tokenizer.encode(sample);
  const ids = parts.flatMap((part) => [...tokenizer.encode(part)]);
  if (ids.length !== whole.length || !ids.every((id, index) => id === whole[index])) return false;
  // Ids may agree by chance where words do not.
  const wordCount = (text: string) => tokenizer.wordEnds?.(text).length ?? 0;
  return wordCount(sample) === parts.map(wordCount).reduce((total, count) => total + count);
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
