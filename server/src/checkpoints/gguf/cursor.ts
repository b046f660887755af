import { ModelError } from "../../modelError.js";

/** The start of a file in memory ends before what is to be read next; more of the file is needed. */
export class NeedsMore extends Error {}

export function badGguf(file: string, what: string): ModelError {
  return new ModelError("badFile", `${file} ${what}. Fetch the file again.`);
}

/**
 * Reads numbers and lengths in order from the start of a GGUF file. Every length is compared with what the file still
 * holds before anything is done with it.
 */
export class Cursor {
  offset = 0;

  /** @param bytes The start of the file, or all of it. */
  constructor(
    readonly file: string,
    readonly bytes: Buffer,
    readonly fileSize: number,
  ) {}

  /** Steps over `length` bytes and returns where they begin. */
  take(length: number, what: string): number {
    const start = this.offset;
    const end = start + length;
    if (end > this.fileSize) {
      throw badGguf(
        this.file,
        `ends at byte ${this.fileSize}, but ${what} reaches to byte ${end}; it is truncated or damaged`,
      );
    }
    if (end > this.bytes.length) throw new NeedsMore();
    this.offset = end;
    return start;
  }

  u32(what: string): number {
    return this.bytes.readUInt32LE(this.take(4, what));
  }

  /** A count or a length of 64 bits; `each` is the least that one of the counted things takes in the file. */
  count(what: string, each: number): number {
    const start = this.take(8, what);
    const count = this.bytes.readUInt32LE(start) + this.bytes.readUInt32LE(start + 4) * 2 ** 32;
    if (count * each > this.fileSize - this.offset) {
      throw badGguf(
        this.file,
        `declares ${count} bytes or entries for ${what}, but only ${this.fileSize - this.offset} bytes follow`,
      );
    }
    return count;
  }

  /** A number of 64 bits that is no length; beyond 2^53 it is not exact, and larger than anything that is compared with it. */
  u64(what: string): number {
    const start = this.take(8, what);
    return this.bytes.readUInt32LE(start) + this.bytes.readUInt32LE(start + 4) * 2 ** 32;
  }

  /** Steps over `count` strings. Vocabularies have hundreds of thousands, so nothing is done twice for any of them. */
  skipTexts(count: number, what: string): void {
    const view = new DataView(this.bytes.buffer, this.bytes.byteOffset, this.bytes.byteLength);
    const last = view.byteLength - 8;
    let at = this.offset;
    for (let left = count; left > 0; --left) {
      const inside = at <= last && view.getUint32(at + 4, true) === 0 && view.getUint32(at, true) <= last - at;
      if (inside) at += 8 + view.getUint32(at, true);
      else {
        this.offset = at;
        this.take(this.count(what, 1), what);
        at = this.offset;
      }
    }
    this.offset = at;
  }

  text(what: string): string {
    const length = this.count(what, 1);
    const start = this.take(length, what);
    return this.bytes.toString("utf8", start, this.offset);
  }
}
