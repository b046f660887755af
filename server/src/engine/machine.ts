import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { availableParallelism, freemem, totalmem } from "node:os";
import path from "node:path";
import { z } from "zod";
import type { Addon } from "./addon.js";
import { loadAddon } from "./load.js";

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

/** Larger than any cache of a processor, and read in a tenth of a second. */
const measuredBytes = 1 << 28;
const passes = 5;
/** A machine that was busy when it was measured is not thought slow for ever. */
const measurementDays = 7;

const measurementSchema = z.object({ cpu: z.string(), threads: z.number(), bytesPerSecond: z.number().positive(), at: z.number() });
type Measurement = z.infer<typeof measurementSchema>;

/**
 * Describes the machine. The bandwidth is measured with the threads that the engine takes and kept in `cacheDirectory`;
 * memory is looked at each time. Where the engine cannot be loaded, Node's own numbers are given.
 */
export async function describeMachine(cacheDirectory: string, wantedThreads = 0): Promise<MachineInfo> {
  const threads = wantedThreads || Math.max(1, availableParallelism() - 1);
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
  const known = await readMeasurement(file);
  const isFresh = known !== undefined && Math.abs(Date.now() - known.at) < measurementDays * 86_400_000;
  if (isFresh && known.cpu === cpu && known.threads === threads) return known.bytesPerSecond;
  try {
    const bytesPerSecond = await addon.measureReadBandwidth(measuredBytes, threads, passes);
    await keep(file, { cpu, threads, bytesPerSecond, at: Date.now() });
    return bytesPerSecond;
  } catch {
    return undefined; // Too little memory for measuring; then nothing is promised.
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
