import type { MachineInfo } from "../engine/machine.js";
import type { CatalogueEntry } from "./catalogue.js";

/** What decides how a model does on a machine. */
export type Machine = MachineInfo;

export type FitKind = "well" | "slow" | "tight" | "tooLarge";

/** Whether a model fits this machine, and why in words. */
export interface Fit {
  readonly kind: FitKind;
  readonly words: string;
}

export interface ExpectedSpeed {
  /** Tokens that a model writes in a second. */
  readonly tokensPerSecond: number;
  /** Tokens of a prompt that it reads in a second. */
  readonly promptTokensPerSecond: number;
}

/** A step reads every weight once; this share of the measured bandwidth is what the engine has been seen to reach. */
const bandwidthShare = 0.8;
/** Weights of int8 and less that one thread multiplies in a second while it writes one token. */
const weightsPerThread = 20e9;
/** Multiplications a second and thread over a whole prompt, with and without AVX-512's dot products. */
const promptWeightsPerThread = { wide: 90e9, narrow: 40e9 };

/** A line takes seconds below this. */
const slowTokensPerSecond = 8;
/** Bytes of a weight in the files that people have most, for models of which only the size is known. */
const usualBytesPerWeight = 0.65;
/** A smaller file is hardly a model. */
const smallestModelBytes = 10e6;

/** Bytes in use while a model of this file size runs: packed weights, cache of a session, work space. */
export function memoryNeed(fileBytes: number): number {
  return 1.25 * fileBytes + 200e6;
}

/** Whether a model fits into the memory and, where it can be told, is quick enough to be of use. */
export function fitOf(fileBytes: number, { totalMemory, availableMemory }: Machine, speed?: ExpectedSpeed): Fit {
  const need = memoryNeed(fileBytes);
  const [needs, free] = [gigabytes(need), gigabytes(availableMemory)];
  if (need > totalMemory) return { kind: "tooLarge", words: `too large for this machine: needs ${needs}, which is more than it has (${gigabytes(totalMemory)})` };
  if (need > availableMemory) return { kind: "tooLarge", words: `too large for this machine: needs ${needs}, ${free} free` };
  if (need > 0.6 * availableMemory) return { kind: "tight", words: `fits, but takes most of the free memory: needs ${needs}, ${free} free` };
  if (speed !== undefined && speed.tokensPerSecond < slowTokensPerSecond) return { kind: "slow", words: "slow on this machine" };
  return { kind: "well", words: "fits well" };
}

/** Undefined where the machine's bandwidth is not known. `parameters` as in {@link CatalogueEntry}; guessed where absent. */
export function expectedSpeed(fileBytes: number, machine: Machine, parameters = fileBytes / usualBytesPerWeight): ExpectedSpeed | undefined {
  const { kernels, threads, readBandwidth } = machine;
  if (readBandwidth === undefined || fileBytes < smallestModelBytes) return undefined;
  const perThread = kernels.startsWith("avx512") ? promptWeightsPerThread.wide : promptWeightsPerThread.narrow;
  return {
    tokensPerSecond: Math.min((bandwidthShare * readBandwidth) / fileBytes, (threads * weightsPerThread) / parameters),
    promptTokensPerSecond: (threads * perThread) / parameters,
  };
}

/** Below these a suggestion comes too late for somebody who is typing. */
const quickEnough: ExpectedSpeed = { tokensPerSecond: 25, promptTokensPerSecond: 400 };

/**
 * The model to suggest for completion: the largest that fits well and is quick enough, or else the smallest that fits.
 * Undefined where none fits.
 */
export function recommended(entries: readonly CatalogueEntry[], machine: Machine): CatalogueEntry | undefined {
  const fitting = entries
    .filter(({ isHidden, abilities, bytes }) => !isHidden && abilities.includes("completion") && fitOf(bytes, machine).kind !== "tooLarge")
    .sort((a, b) => a.bytes - b.bytes);
  const quick = fitting.filter(({ bytes, parameters }) => fitOf(bytes, machine).kind === "well" && isQuick(expectedSpeed(bytes, machine, parameters)));
  return quick.at(-1) ?? fitting[0];
}

function isQuick(speed: ExpectedSpeed | undefined): boolean {
  return (
    speed !== undefined &&
    speed.tokensPerSecond >= quickEnough.tokensPerSecond &&
    speed.promptTokensPerSecond >= quickEnough.promptTokensPerSecond
  );
}

/** `491 MB`, `1.1 GB`: decimal units, as download pages have them. */
export function gigabytes(bytes: number): string {
  return bytes < 999.5e6 ? `${Math.round(bytes / 1e6)} MB` : `${(bytes / 1e9).toFixed(1)} GB`;
}
