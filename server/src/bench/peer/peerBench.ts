import { mkdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Addon, EngineSession, NativeEngine, WeightDtype } from "../../engine/addon.js";
import { shapeConfig, type ShapeName } from "../shapes.js";
import { formatTable } from "../table.js";
import { ggufBytesPerToken, writeRandomGguf, type GgufQuantisation } from "./gguf.js";
import { openPeer, type Peer } from "./llamaCpp.js";
import { decodePromptTokens, median, ourPrefillMs, ourStepMs, promptOf } from "./timing.js";

/**
 * Our engine and llama.cpp on the same shapes, bits and threads, in one process, taking turns: read pass, ours, peer,
 * ours, peer. Weights are random, so drafts mean nothing here: decode is plain (one token per step) on both sides.
 */

export interface PeerBenchOptions {
  readonly shapes: readonly ShapeName[];
  readonly dtypes: readonly ("int8" | "int4")[];
  readonly threads: number;
  readonly rounds: number;
  readonly decodeTokens: number;
  readonly promptTokens: number;
  readonly cacheDirectory: string;
  /** Keeps the random models for the next run; otherwise each is deleted after its case. */
  readonly keep: boolean;
}

export interface PeerCase {
  readonly shape: ShapeName;
  readonly dtype: WeightDtype;
  readonly peerFormat: GgufQuantisation;
  readonly threads: number;
  readonly backend: string;
  readonly peer: string;
  /** Medians over the rounds. */
  readonly readGBps: number;
  readonly decode: { readonly ours: number; readonly peer: number; readonly ratio: number; readonly ofReadBandwidth: number };
  readonly prefill: { readonly ours: number; readonly peer: number; readonly ratio: number };
  /** The same prompt taken in as pairs; peers have nothing like it, so it is no part of the ratio. */
  readonly pairPrefill: number;
  /** One pair step over one plain step: no draft (as behind a pre-gate), draft rejected by the gate, and kept. */
  readonly pairStepCost: { readonly skipped: number; readonly rejected: number; readonly kept: number };
  readonly bytesPerToken: { readonly ours: number; readonly peer: number };
}

interface Samples {
  readonly readBytesPerSecond: number[];
  readonly ourDecode: number[];
  readonly peerDecode: number[];
  readonly ourPrefill: number[];
  readonly peerPrefill: number[];
  readonly pairPrefill: number[];
  readonly skipped: number[];
  readonly rejected: number[];
  readonly kept: number[];
}

function emptySamples(): Samples {
  return {
    readBytesPerSecond: [],
    ourDecode: [],
    peerDecode: [],
    ourPrefill: [],
    peerPrefill: [],
    pairPrefill: [],
    skipped: [],
    rejected: [],
    kept: [],
  };
}

/** One round in turns, so that a change of the machine's speed meets both sides. */
async function runRound(
  addon: Addon,
  session: EngineSession,
  peer: Peer,
  options: PeerBenchOptions,
  into: Samples,
): Promise<void> {
  const prompt = promptOf(options.promptTokens);
  into.readBytesPerSecond.push(await addon.measureReadBandwidth(1 << 30, options.threads, 2));
  into.ourDecode.push(await ourStepMs(session, "plain", 1, options.decodeTokens));
  into.peerDecode.push(await peer.decode(promptOf(decodePromptTokens), options.decodeTokens));
  into.skipped.push(await ourStepMs(session, "pair", 1, options.decodeTokens));
  into.rejected.push(await ourStepMs(session, "pair", 0.999999, options.decodeTokens));
  into.kept.push(await ourStepMs(session, "pair", 0, options.decodeTokens));
  into.ourPrefill.push(await ourPrefillMs(session, "plain", prompt));
  into.peerPrefill.push(await peer.prefill(prompt));
  into.pairPrefill.push(await ourPrefillMs(session, "pair", prompt));
}

function summarise(samples: Samples, engine: NativeEngine, peerBytes: number, promptTokens: number) {
  const ourBytes = engine.info.bytesPerStep.backbone + engine.info.bytesPerStep.head;
  const read = median(samples.readBytesPerSecond);
  const ourStep = median(samples.ourDecode);
  const ratio = (ours: readonly number[], theirs: readonly number[]) =>
    median(ours.map((value, round) => (theirs[round] ?? Number.NaN) / value));
  const perSecond = (ms: number) => (1000 * promptTokens) / ms;
  return {
    readGBps: read / 1e9,
    decode: {
      ours: 1000 / ourStep,
      peer: 1000 / median(samples.peerDecode),
      ratio: ratio(samples.ourDecode, samples.peerDecode),
      ofReadBandwidth: ourBytes / (ourStep / 1000) / read,
    },
    prefill: {
      ours: perSecond(median(samples.ourPrefill)),
      peer: perSecond(median(samples.peerPrefill)),
      ratio: ratio(samples.ourPrefill, samples.peerPrefill),
    },
    pairPrefill: perSecond(median(samples.pairPrefill)),
    pairStepCost: {
      skipped: median(samples.skipped) / ourStep,
      rejected: median(samples.rejected) / ourStep,
      kept: median(samples.kept) / ourStep,
    },
    bytesPerToken: { ours: ourBytes, peer: peerBytes },
  };
}

async function runCase(
  addon: Addon,
  shape: ShapeName,
  dtype: "int8" | "int4",
  options: PeerBenchOptions,
  log: (line: string) => void,
): Promise<PeerCase> {
  const config = shapeConfig(shape);
  const peerFormat: GgufQuantisation = dtype === "int8" ? "Q8_0" : "Q4_0";
  const packed = join(options.cacheDirectory, `random-${shape}-${dtype}.pipo`);
  const gguf = join(options.cacheDirectory, `random-${shape}-${peerFormat}.gguf`);
  const loadOptions = { dtype, groupSize: 32, threads: options.threads, kernels: "cpu" } as const;
  await mkdir(options.cacheDirectory, { recursive: true });
  log(`${shape} ${dtype}: writing random models to ${options.cacheDirectory}`);
  if (!(await stat(packed).catch(() => undefined))) await addon.packRandom(config, loadOptions, packed);
  await writeRandomGguf(gguf, config, peerFormat);

  const contextSize = options.promptTokens + options.decodeTokens + 64;
  const engine = await addon.loadPacked(packed, loadOptions);
  const peer = await openPeer(gguf, { threads: options.threads, contextSize });
  const session = engine.createSession({ maxPositions: contextSize });
  const samples = emptySamples();
  try {
    const warmUp = { ...options, decodeTokens: 4 };
    await runRound(addon, session, peer, warmUp, emptySamples());
    for (let round = 0; round < options.rounds; ++round) {
      log(`${shape} ${dtype}: round ${round + 1} of ${options.rounds}`);
      await runRound(addon, session, peer, options, samples);
    }
    return {
      shape,
      dtype,
      peerFormat,
      threads: options.threads,
      backend: engine.info.backend,
      peer: peer.version,
      ...summarise(samples, engine, ggufBytesPerToken(config, peerFormat), options.promptTokens),
    };
  } finally {
    session.close();
    await engine.close();
    await peer.close();
    if (!options.keep) await Promise.all([rm(packed, { force: true }), rm(gguf, { force: true })]);
  }
}

/** Runs every case in turn; each loads, measures and frees both engines. */
export async function runPeerBench(
  addon: Addon,
  options: PeerBenchOptions,
  log: (line: string) => void,
): Promise<readonly PeerCase[]> {
  const cases: PeerCase[] = [];
  for (const shape of options.shapes) {
    for (const dtype of options.dtypes) cases.push(await runCase(addon, shape, dtype, options, log));
  }
  return cases;
}

/** A table for people; figures in tokens per second unless the heading says otherwise. */
export function formatPeerTable(cases: readonly PeerCase[]): string {
  const heading = ["model", "ours", "peer", "T", "read GB/s", "decode", "peer", "ratio", "of read", "prefill", "peer", "ratio", "pair in", "step: no draft", "gated", "kept"];
  const rows = cases.map((result) => [
    result.shape,
    result.dtype,
    result.peerFormat,
    String(result.threads),
    result.readGBps.toFixed(1),
    result.decode.ours.toFixed(1),
    result.decode.peer.toFixed(1),
    `${result.decode.ratio.toFixed(2)}x`,
    `${(100 * result.decode.ofReadBandwidth).toFixed(0)} %`,
    result.prefill.ours.toFixed(0),
    result.prefill.peer.toFixed(0),
    `${result.prefill.ratio.toFixed(2)}x`,
    result.pairPrefill.toFixed(0),
    `${result.pairStepCost.skipped.toFixed(2)}x`,
    `${result.pairStepCost.rejected.toFixed(2)}x`,
    `${result.pairStepCost.kept.toFixed(2)}x`,
  ]);
  return formatTable(heading, rows);
}
