import { mkdir, statfs } from "node:fs/promises";
import { totalmem } from "node:os";
import { setTimeout as wait } from "node:timers/promises";
import { networkEnvironment } from "../../environment.js";
import { messageOf } from "../../files.js";
import { plainText } from "../../plainText.js";
import type { CatalogueEntry } from "../catalogue.js";
import { gigabytes, memoryNeed } from "../fit.js";
import { downloadedFile, placeOf } from "../folder.js";
import { cancelled, DownloadError, throwIfCancelled } from "./downloadError.js";
import { withFolderLock } from "./folderLock.js";
import { hubSource } from "./hub.js";
import { mirrorSource } from "./mirror.js";
import { PartialFile } from "./partialFile.js";
import type { Source } from "./source.js";

export type DownloadStage = "waiting" | "downloading" | "checking";

export interface DownloadProgress {
  readonly stage: DownloadStage;
  /** Bytes of the file that are here. */
  readonly receivedBytes: number;
  readonly totalBytes: number;
  /** Where they come from; empty while nothing is asked. */
  readonly source: string;
}

export interface DownloadOptions {
  /** Folder that holds models, shared by all programs of the user; made where it is missing. */
  readonly folder: string;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: DownloadProgress) => void) | undefined;
  /** Called with words when a source did not work and the next one is tried. */
  readonly onSourceFailed?: ((message: string) => void) | undefined;
  /** Also what this machine has too little memory to run. */
  readonly evenIfTooLarge?: boolean | undefined;
  /** Instead of the entry's own, for tests. */
  readonly sources?: readonly Source[];
  readonly totalMemory?: number;
  readonly freeDisk?: (folder: string) => Promise<number>;
}

/** Attempts at one source; each further one goes on where the one before broke off, and only if that brought something. */
const attempts = 4;
const pauseMs = 1_000;
/** Disk that is left to others. */
const spareBytes = 50e6;

/**
 * Brings a model of the catalogue into the models folder and answers with its file. What is there already is used; what
 * is half there is completed. Sources are tried in order until one has brought the right bytes; nothing else gets the
 * file's name. Throws a DownloadError.
 */
export async function downloadModel(entry: CatalogueEntry, options: DownloadOptions): Promise<string> {
  const { folder, signal, onProgress } = options;
  const ready = await downloadedFile(entry, folder);
  if (ready !== undefined) return ready;
  checkMemory(entry, options);
  try {
    await mkdir(folder, { recursive: true });
    const waiting = () => onProgress?.({ stage: "waiting", receivedBytes: 0, totalBytes: entry.bytes, source: "" });
    return await withFolderLock(`${placeOf(entry, folder)}.lock`, { signal, onWait: waiting }, () => download(entry, options));
  } catch (error) {
    throw error instanceof DownloadError ? error : folderError(error, folder);
  }
}

/** With the lock held. Another process may have brought the file while this one waited. */
async function download(entry: CatalogueEntry, options: DownloadOptions): Promise<string> {
  const { folder, signal } = options;
  const ready = await downloadedFile(entry, folder);
  if (ready !== undefined) return ready;
  throwIfCancelled(signal);
  const failures: string[] = [];
  for (const source of options.sources ?? sourcesOf(entry, folder)) {
    try {
      return await downloadFrom(source, entry, options);
    } catch (error) {
      if (!(error instanceof DownloadError) || isFinal(error)) throw error;
      const words = asSentence(`${source.label}: ${error.message}`);
      failures.push(words);
      options.onSourceFailed?.(words);
    }
  }
  throw new DownloadError("allSourcesFailed", `${entry.title} could not be downloaded. ${failures.join(" ")}`);
}

function sourcesOf(entry: CatalogueEntry, folder: string): readonly Source[] {
  return [
    ...(entry.hub === undefined ? [] : [hubSource(entry, entry.hub, networkEnvironment())]),
    ...(entry.mirror === undefined ? [] : [mirrorSource(entry.mirror, placeOf(entry, folder))]),
  ];
}

/** What another source would not mend. */
function isFinal({ kind }: DownloadError): boolean {
  return kind === "cancelled" || kind === "noSpace" || kind === "folder";
}

/** Bytes that went on from an earlier attempt and turn out wrong are fetched once more, from the beginning. */
async function downloadFrom(source: Source, entry: CatalogueEntry, options: DownloadOptions): Promise<string> {
  const file = await PartialFile.open(entry, options.folder);
  try {
    const isResumed = source.startFor(file.bytes) > 0;
    await fill(file, source, entry, options);
    if (await isRight(file, entry, source, options)) return await file.place();
    await file.keepFirst(0);
    if (isResumed) {
      await fill(file, source, entry, options);
      if (await isRight(file, entry, source, options)) return await file.place();
      await file.keepFirst(0);
    }
    throw new DownloadError("wrongBytes", "what it sent has another checksum than the file should have; it was thrown away");
  } finally {
    await file.close();
  }
}

async function isRight(file: PartialFile, entry: CatalogueEntry, source: Source, { onProgress }: DownloadOptions): Promise<boolean> {
  onProgress?.({ stage: "checking", receivedBytes: file.bytes, totalBytes: entry.bytes, source: source.label });
  return file.isRight();
}

/** Reads until the file is as long as it should be. */
async function fill(file: PartialFile, source: Source, entry: CatalogueEntry, options: DownloadOptions): Promise<void> {
  for (let attempt = 1; file.bytes < entry.bytes; attempt += 1) {
    const before = file.bytes;
    try {
      await fillOnce(file, source, entry, options);
    } catch (error) {
      const broughtSomething = file.bytes > before;
      const mayGoOn = error instanceof DownloadError && error.kind === "interrupted" && broughtSomething && attempt < attempts;
      if (!mayGoOn) throw error;
      await wait(pauseMs);
      throwIfCancelled(options.signal);
    }
  }
}

async function fillOnce(file: PartialFile, source: Source, entry: CatalogueEntry, options: DownloadOptions): Promise<void> {
  const { folder, signal = new AbortController().signal, onProgress } = options;
  const start = source.startFor(file.bytes);
  if (start < file.bytes) await file.keepFirst(start);
  await checkDisk(entry.bytes - start + source.neededBeside, options);
  const report = () => onProgress?.({ stage: "downloading", receivedBytes: file.bytes, totalBytes: entry.bytes, source: source.label });
  report();
  for await (const chunk of source.read(start, signal)) {
    throwIfCancelled(signal);
    await file.append(chunk).catch((error: unknown) => {
      throw error instanceof DownloadError ? error : folderError(error, folder);
    });
    report();
  }
}

function checkMemory(entry: CatalogueEntry, { evenIfTooLarge = false, totalMemory = totalmem() }: DownloadOptions): void {
  const need = memoryNeed(entry.bytes);
  if (evenIfTooLarge || need <= totalMemory) return;
  throw new DownloadError("tooLarge", `${entry.title} is too large for this machine: it needs ${gigabytes(need)} of memory, and there are ${gigabytes(totalMemory)}.`);
}

async function checkDisk(need: number, { folder, freeDisk = freeDiskOf }: DownloadOptions): Promise<void> {
  const free = await freeDisk(folder);
  if (free >= need + spareBytes) return;
  throw new DownloadError("noSpace", `There is too little space in ${folder}: ${gigabytes(need + spareBytes)} are needed, ${gigabytes(free)} are free. PIPO_MODELS_DIR names another folder.`);
}

async function freeDiskOf(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize;
}

function folderError(error: unknown, folder: string): DownloadError {
  const { code } = error as NodeJS.ErrnoException;
  if ((error as Error).name === "AbortError") return cancelled();
  if (code === "ENOSPC" || code === "EDQUOT") {
    return new DownloadError("noSpace", `The disk became full while writing to ${folder}. Make room, or name another folder with PIPO_MODELS_DIR; what has arrived is kept.`, { cause: error });
  }
  return new DownloadError("folder", `${folder} cannot be written (${plainText(messageOf(error), 120)}). Name another folder with PIPO_MODELS_DIR.`, { cause: error });
}

function asSentence(text: string): string {
  return `${text.slice(0, 1).toUpperCase()}${text.slice(1).replace(/(?<![.?!])$/, ".")}`;
}
