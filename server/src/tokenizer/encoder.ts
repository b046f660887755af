import { BytePairMerger } from "./bytePairs.js";
import { Splitter } from "./splits.js";
import { idOfBytes, type TokenTable } from "./tokenTable.js";
import { WordCache } from "./wordCache.js";

/** UTF-8 bytes of one UTF-16 unit at most; pairs of surrogates take four for two. */
const bytesPerUnit = 3;
/** Words up to this many bytes use one buffer again and again. */
const keptWordBytes = 4096;

/**
 * Text to ids by byte-level BPE: words by the split, bytes of a word, merges. The ids are those of Hugging Face's library,
 * with which the models were trained. llama.cpp differs from it, and from this, in four corners: after the split of
 * deepseek-coder blanks beyond ASCII do not begin a word; a byte that the vocabulary lacks keeps its neighbours apart;
 * words that the authors added, such as `<tool_call>`, are tokens in any text; and characters are as in another version of
 * Unicode (here, as in the platform's).
 */
export class Encoder {
  private readonly splitter: Splitter;
  private readonly merger: BytePairMerger;
  private readonly words = new WordCache();
  private readonly wordBytes = new Uint8Array(keptWordBytes);

  constructor(private readonly table: TokenTable) {
    this.splitter = new Splitter(table.split);
    this.merger = new BytePairMerger(table);
  }

  /** Lone surrogates become U+FFFD. */
  encode(text: string): Int32Array {
    const wellFormed = text.toWellFormed();
    const normal = this.table.nfc ? wellFormed.normalize("NFC") : wellFormed;
    const ends = this.splitter.ends(normal);
    const ids = new IdList(normal.length >> 1);
    let start = 0;
    for (const end of ends) {
      this.addWord(normal, start, end, ids);
      start = end;
    }
    return ids.take();
  }

  /** Where each word of `text` ends. */
  wordEnds(text: string): readonly number[] {
    return this.splitter.ends(text);
  }

  private addWord(text: string, start: number, end: number, ids: IdList): void {
    ids.reserve(bytesPerUnit * (end - start));
    const slot = this.words.slotOf(text, start, end);
    const known = slot < 0 ? 0 : this.words.read(slot, text, start, end, ids.values, ids.length);
    const count = known || this.mergedWord(text, start, end, ids);
    if (known === 0 && slot >= 0) this.words.write(slot, text, start, end, ids.values, ids.length, count);
    ids.length += count;
  }

  /** Writes the ids of a word behind those of `ids` and returns how many there are. */
  private mergedWord(text: string, start: number, end: number, ids: IdList): number {
    const room = bytesPerUnit * (end - start);
    const bytes = room <= keptWordBytes ? this.wordBytes : new Uint8Array(room);
    const byteCount = writeUtf8(text, start, end, bytes);
    const symbols = ids.values.subarray(ids.length);
    if (this.table.ignoreMerges) {
      const whole = idOfBytes(this.table, bytes, 0, byteCount);
      if (whole >= 0) {
        symbols[0] = whole;
        return 1;
      }
    }
    let count = 0;
    for (let i = 0; i < byteCount; i++) {
      const id = this.table.byteIds[bytes[i]!]!;
      // A byte that the vocabulary lacks is left out, as the model has never seen it.
      if (id >= 0) symbols[count++] = id;
    }
    return this.merger.merge(symbols, count);
  }
}

/** Ids that grow in one array. */
class IdList {
  values: Int32Array<ArrayBuffer>;
  length = 0;

  constructor(capacity: number) {
    this.values = new Int32Array(Math.max(16, capacity));
  }

  /** Makes room for `count` more. */
  reserve(count: number): void {
    if (this.length + count <= this.values.length) return;
    const larger = new Int32Array(2 * (this.length + count));
    larger.set(this.values.subarray(0, this.length));
    this.values = larger;
  }

  take(): Int32Array {
    return this.values.slice(0, this.length);
  }
}

/** UTF-8 of well-formed text; returns how many bytes it has. */
function writeUtf8(text: string, start: number, end: number, bytes: Uint8Array): number {
  let at = 0;
  for (let i = start; i < end; i++) {
    let code = text.charCodeAt(i);
    if (code < 0x80) {
      bytes[at++] = code;
      continue;
    }
    if (code >= 0xd800 && code < 0xdc00) {
      code = 0x10000 + ((code - 0xd800) << 10) + (text.charCodeAt(++i) - 0xdc00);
      bytes[at++] = 0xf0 | (code >> 18);
      bytes[at++] = 0x80 | ((code >> 12) & 0x3f);
    } else if (code >= 0x800) {
      bytes[at++] = 0xe0 | (code >> 12);
    }
    bytes[at++] = code < 0x800 ? 0xc0 | (code >> 6) : 0x80 | ((code >> 6) & 0x3f);
    bytes[at++] = 0x80 | (code & 0x3f);
  }
  return at;
}
