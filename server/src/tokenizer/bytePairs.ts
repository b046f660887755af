import { rankOf, type TokenTable } from "./tokenTable.js";

/** Words up to this many symbols are merged by searching them; longer ones with a heap. */
const maxSearched = 48;
const noRank = 0x7fffffff;

/**
 * Merges the symbols of one word, the lowest rank first and of equal ranks the leftmost. Works in place on
 * `symbols[0, count)` and returns how many are left. The time grows as n log n.
 */
export class BytePairMerger {
  private readonly ranks = new Int32Array(maxSearched);

  constructor(private readonly table: TokenTable) {}

  merge(symbols: Int32Array, count: number): number {
    return count <= maxSearched ? this.mergeShort(symbols, count) : mergeLong(this.table, symbols, count);
  }

  private mergeShort(symbols: Int32Array, count: number): number {
    const { table, ranks } = this;
    for (let i = 0; i + 1 < count; i++) ranks[i] = this.rankAt(symbols, i);
    for (let left = count; left > 1; left--) {
      let best = noRank;
      let at = 0;
      for (let i = 0; i < left - 1; i++) {
        if (ranks[i]! < best) {
          best = ranks[i]!;
          at = i;
        }
      }
      if (best === noRank) return left;
      symbols[at] = table.mergeResult[best]!;
      // Moving a few numbers takes less than a call that does.
      for (let i = at + 1; i < left - 1; i++) {
        symbols[i] = symbols[i + 1]!;
        ranks[i] = ranks[i + 1]!;
      }
      if (at > 0) ranks[at - 1] = this.rankAt(symbols, at - 1);
      if (at + 2 < left) ranks[at] = this.rankAt(symbols, at);
    }
    return Math.min(count, 1);
  }

  private rankAt(symbols: Int32Array, i: number): number {
    const rank = rankOf(this.table, symbols[i]!, symbols[i + 1]!);
    return rank < 0 ? noRank : rank;
  }
}

/** Symbols as a linked list, and the pairs that can be merged in a heap. */
function mergeLong(table: TokenTable, symbols: Int32Array, count: number): number {
  const next = new Int32Array(count).map((_, i) => i + 1);
  const previous = new Int32Array(count).map((_, i) => i - 1);
  const pairs = new PairHeap(count);
  const offer = (at: number) => {
    const rank = at >= 0 && next[at]! < count ? rankOf(table, symbols[at]!, symbols[next[at]!]!) : -1;
    if (rank >= 0) pairs.push(rank, at);
  };
  for (let at = 0; at + 1 < count; at++) offer(at);
  while (pairs.pop()) {
    const { rank, at } = pairs;
    const right = next[at]!;
    // The pair may have changed since it was offered; a symbol that is gone has become -1, which no merge names.
    if (right >= count || symbols[at] !== table.mergeLeft[rank] || symbols[right] !== table.mergeRight[rank]) continue;
    symbols[at] = table.mergeResult[rank]!;
    symbols[right] = -1;
    next[at] = next[right]!;
    if (next[at]! < count) previous[next[at]!] = at;
    offer(previous[at]!);
    offer(at);
  }
  let left = 0;
  for (let at = 0; at < count; at = next[at]!) symbols[left++] = symbols[at]!;
  return left;
}

/** A binary heap of pairs by rank, then by place. A pair is one number: doubles hold both exactly. */
class PairHeap {
  /** The pair that {@link pop} took. */
  rank = 0;
  at = 0;
  private keys: Float64Array;
  private size = 0;

  constructor(capacity: number) {
    this.keys = new Float64Array(capacity);
  }

  push(rank: number, at: number): void {
    if (this.size === this.keys.length) this.grow();
    const { keys } = this;
    const key = rank * 2 ** 32 + at;
    let i = this.size++;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (keys[parent]! <= key) break;
      keys[i] = keys[parent]!;
      i = parent;
    }
    keys[i] = key;
  }

  /** False where no pair is left. */
  pop(): boolean {
    if (this.size === 0) return false;
    const { keys } = this;
    const first = keys[0]!;
    this.rank = Math.floor(first / 2 ** 32);
    this.at = first - this.rank * 2 ** 32;
    const key = keys[--this.size]!;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= this.size) break;
      if (child + 1 < this.size && keys[child + 1]! < keys[child]!) child++;
      if (keys[child]! >= key) break;
      keys[i] = keys[child]!;
      i = child;
    }
    keys[i] = key;
    return true;
  }

  private grow(): void {
    const larger = new Float64Array(2 * this.size);
    larger.set(this.keys);
    this.keys = larger;
  }
}
