import { createHash, type Hash } from "node:crypto";
import { type FileHandle, open, rename } from "node:fs/promises";
import type { CatalogueEntry } from "../catalogue.js";
import { gigabytes } from "../fit.js";
import { placeOf } from "../folder.js";
import { DownloadError } from "./downloadError.js";

/** Read at once when what is there already is hashed. */
const chunkBytes = 1 << 20;

/**
 * The beginning of an entry's file, under a name that no list shows: what arrived is kept for the next attempt, and only
 * the whole file with the right checksum gets the entry's name. One process at a time has it open.
 */
export class PartialFile {
  private constructor(
    private readonly entry: CatalogueEntry,
    private readonly folder: string,
    private readonly handle: FileHandle,
    private hash: Hash,
    private size: number,
  ) {}

  static pathOf(entry: CatalogueEntry, folder: string): string {
    return `${placeOf(entry, folder)}.partial`;
  }

  /** Opens what an earlier attempt left, or begins. */
  static async open(entry: CatalogueEntry, folder: string): Promise<PartialFile> {
    const handle = await open(PartialFile.pathOf(entry, folder), "a+");
    const file = new PartialFile(entry, folder, handle, createHash("sha256"), 0);
    await file.keepFirst((await handle.stat()).size);
    return file;
  }

  /** Bytes that are there. */
  get bytes(): number {
    return this.size;
  }

  /** Drops everything behind the first `bytes`; a source that sends whole pieces begins at one. */
  async keepFirst(bytes: number): Promise<void> {
    const kept = bytes > this.entry.bytes ? 0 : bytes;
    await this.handle.truncate(kept);
    this.hash = createHash("sha256");
    this.size = kept;
    const buffer = Buffer.alloc(chunkBytes);
    for (let at = 0; at < kept; ) {
      const { bytesRead } = await this.handle.read(buffer, 0, chunkBytes, at);
      if (bytesRead === 0) break;
      this.hash.update(buffer.subarray(0, bytesRead));
      at += bytesRead;
    }
  }

  async append(chunk: Uint8Array): Promise<void> {
    if (this.size + chunk.length > this.entry.bytes) {
      throw new DownloadError("wrongBytes", `more arrived than the ${gigabytes(this.entry.bytes)} of the file`);
    }
    for (let written = 0; written < chunk.length; ) {
      written += (await this.handle.write(chunk, written)).bytesWritten;
    }
    this.hash.update(chunk);
    this.size += chunk.length;
  }

  /** Whether these are the entry's bytes, all of them. The hash is used up. */
  isRight(): boolean {
    return this.size === this.entry.bytes && this.hash.copy().digest("hex") === this.entry.sha256;
  }

  /** Gives the checked file its name, at once and whole. Returns it. The file is closed before, as Windows wants it. */
  async place(): Promise<string> {
    await this.handle.sync();
    await this.close();
    const place = placeOf(this.entry, this.folder);
    await rename(PartialFile.pathOf(this.entry, this.folder), place);
    return place;
  }

  /** Closing twice is allowed. */
  close(): Promise<void> {
    return this.handle.close();
  }
}
