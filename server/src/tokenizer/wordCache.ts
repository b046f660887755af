/** Words up to this many UTF-16 units and ids are remembered; nearly all words of code are. */
const maxUnits = 16;
const maxIds = 8;

/**
 * Ids of words that were encoded before. Its memory is fixed: each word has one slot, and a newer word takes the place
 * of an older one. It holds characters and ids as numbers, so that no text is kept alive.
 */
export class WordCache {
  private readonly mask: number;
  private readonly units: Uint16Array;
  private readonly unitCounts: Uint8Array;
  private readonly ids: Int32Array;
  private readonly idCounts: Uint8Array;

  /** `slots` is a power of two; a slot takes 66 bytes. */
  constructor(slots = 1 << 15) {
    this.mask = slots - 1;
    this.units = new Uint16Array(slots * maxUnits);
    this.unitCounts = new Uint8Array(slots);
    this.ids = new Int32Array(slots * maxIds);
    this.idCounts = new Uint8Array(slots);
  }

  /** The slot of the word `text[start, end)`; -1 for a word that is too long. */
  slotOf(text: string, start: number, end: number): number {
    if (end - start > maxUnits) return -1;
    let hash = end - start;
    for (let i = start; i < end; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
    return (hash ^ (hash >>> 15)) & this.mask;
  }

  /** Writes the word's ids to `out` at `at` and returns how many there are; 0 where the slot holds another word. */
  read(slot: number, text: string, start: number, end: number, out: Int32Array, at: number): number {
    if (this.unitCounts[slot] !== end - start) return 0;
    const units = slot * maxUnits - start;
    for (let i = start; i < end; i++) if (this.units[units + i] !== text.charCodeAt(i)) return 0;
    const count = this.idCounts[slot]!;
    for (let i = 0; i < count; i++) out[at + i] = this.ids[slot * maxIds + i]!;
    return count;
  }

  /** Remembers the word with the `count` ids at `at`. */
  write(slot: number, text: string, start: number, end: number, ids: Int32Array, at: number, count: number): void {
    if (count === 0 || count > maxIds) return;
    this.unitCounts[slot] = end - start;
    for (let i = start; i < end; i++) this.units[slot * maxUnits + i - start] = text.charCodeAt(i);
    this.idCounts[slot] = count;
    for (let i = 0; i < count; i++) this.ids[slot * maxIds + i] = ids[at + i]!;
  }
}
