import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { freemem, totalmem } from "node:os";
import path from "node:path";
import { z } from "zod";
import type { Addon } from "./addon.js";
import { loadAddon } from "./load.js";
import { defaultThreads } from "./threads.js";

/** This machine as far as it decides which model suits it. */
export interface MachineInfo {
  /** Best kernel target of the engine; empty where the engine cannot be loaded. */
  readonly kernels: string;
  readonly threads: number;
  readonly totalMemory: number;
  readonly availableMemory: number;
  /** Bytes per second that these threads read; undefined where it cannot be measured. */
  readonly readBandwidth: number | undefined;
}

/** More than any cache holds, and read within milliseconds. */
const measuredBytes = 128 * 2 ** 20;
const passes = 2;
/** A machine that is busy looks slow, so it is measured again after a while, and the best of some days counts. */
const againAfterMs = 10 * 60_000;
const bestForMs = 7 * 86_400_000;

const measurementSchema = z.object({
  cpu: z.string(),
  threads: z.number(),
  bytesPerSecond: z.number().positive(),
  /** When that was seen, and when it was last looked at; milliseconds since 1970. */
  bestAt: z.number(),
  measuredAt: z.number(),
});
type Measurement = z.infer<typeof measurementSchema>;

/**
 * Describes the machine. The bandwidth is measured with the threads that the engine takes and kept in `cacheDirectory`;
 * memory is looked at each time. Where the engine cannot be loaded, Node's own numbers are given.
 */
export async function describeMachine(cacheDirectory: string, wantedThreads = 0): Promise<MachineInfo> {
  const threads = wantedThreads || defaultThreads();
  const addon = addonIfThere();
  if (addon === undefined) {
    return { kernels: "", threads, totalMemory: totalmem(), availableMemory: freemem(), readBandwidth: undefined };
  }
  const { kernels, totalMemory, availableMemory } = addon.hostInfo();
  return { kernels: kernels[0] ?? "", threads, totalMemory, availableMemory, readBandwidth: await bandwidth(addon, threads, cacheDirectory) };
}

function addonIfThere(): Addon | undefined {
  try {
    return loadAddon();
  } catch {
    return undefined;
  }
}

async function bandwidth(addon: Addon, threads: number, cacheDirectory: string): Promise<number | undefined> {
  const file = path.join(cacheDirectory, "machine.json");
  const { cpu } = addon.hostInfo();
  const now = Date.now();
  const read = await readMeasurement(file);
  const known = read?.cpu === cpu && read.threads === threads && Math.abs(now - read.bestAt) < bestForMs ? read : undefined;
  if (known !== undefined && Math.abs(now - known.measuredAt) < againAfterMs) return known.bytesPerSecond;
  try {
    const bytesPerSecond = await addon.measureReadBandwidth(measuredBytes, threads, passes);
    const isBest = known === undefined || bytesPerSecond > known.bytesPerSecond;
    const best = isBest ? { cpu, threads, bytesPerSecond, bestAt: now } : known;
    await keep(file, { ...best, measuredAt: now });
    return best.bytesPerSecond;
  } catch {
    return known?.bytesPerSecond; // Too little memory for measuring; then nothing new is promised.
  }
}

async function readMeasurement(file: string): Promise<Measurement | undefined> {
  try {
    return measurementSchema.safeParse(JSON.parse(await readFile(file, "utf8"))).data;
  } catch {
    return undefined;
  }
}

/** A measurement that cannot be kept is made again next time. */
async function keep(file: string, measurement: Measurement): Promise<void> {
  try {
    await mkdir(path.dirname(file), { recursive: true });
    const fresh = `${file}.${process.pid}`;
    await writeFile(fresh, JSON.stringify(measurement));
    await rename(fresh, file);
  } catch {
    // Nothing depends on it.
  }
}
