import type { Addon, EngineSession } from "../../engine/addon.js";
import { loadEngine, type LoadedEngine } from "../../engine/engine.js";
import { openPeer, type Peer } from "./llamaCpp.js";
import { decodePromptTokens, median, ourPrefillMs, ourStepMs, promptOf } from "./timing.js";

/**
 * Our engine and llama.cpp on the same GGUF file, in one process, taking turns: read pass, ours, peer, ours, peer.
 * Decode is plain and greedy on both sides, one token per step.
 */

export interface FileBenchOptions {
  readonly file: string;
  readonly threads: readonly number[];
  readonly rounds: number;
  readonly decodeTokens: number;
  readonly promptTokens: number;
  /** Where packed weights are kept. */
  readonly packedDirectory: string;
}

/** Tokens per second, medians over the rounds; ratios are medians of adjacent runs. */
export interface FileBenchCase {
  readonly model: string;
  readonly threads: number;
  readonly backend: string;
  readonly peer: string;
  readonly readGBps: number;
  readonly decode: { readonly ours: number; readonly peer: number; readonly ratio: number; readonly ofReadBandwidth: number };
  readonly prefill: { readonly ours: number; readonly peer: number; readonly ratio: number };
  readonly bytesPerToken: number;
}

/** Ids that every vocabulary of a real model has. */
const usualIds = 40_000;

interface Round {
  readonly read: number;
  readonly ourDecode: number;
  readonly peerDecode: number;
  readonly ourPrefill: number;
  readonly peerPrefill: number;
}

/** One case per number of threads; each loads, measures and frees both engines. */
export async function runFileBench(
  addon: Addon,
  options: FileBenchOptions,
  log: (line: string) => void,
): Promise<readonly FileBenchCase[]> {
  const cases: FileBenchCase[] = [];
  for (const threads of options.threads) cases.push(await runCase(addon, threads, options, log));
  return cases;
}

async function runCase(
  addon: Addon,
  threads: number,
  options: FileBenchOptions,
  log: (line: string) => void,
): Promise<FileBenchCase> {
  const contextSize = options.promptTokens + options.decodeTokens + 64;
  const { packedDirectory } = options;
  const engine = await loadEngine(options.file, { threads, packedDirectory, device: "cpu" });
  const peer = await openPeer(options.file, { threads, contextSize });
  const session = engine.native.createSession({ maxPositions: contextSize });
  try {
    await runRound(addon, session, peer, threads, { ...options, decodeTokens: 4 });
    const rounds: Round[] = [];
    for (let round = 0; round < options.rounds; ++round) {
      log(`${threads} threads: round ${round + 1} of ${options.rounds}`);
      rounds.push(await runRound(addon, session, peer, threads, options));
    }
    return summarise(rounds, engine, peer, threads, options.promptTokens);
  } finally {
    session.close();
    await engine.native.close();
    await peer.close();
  }
}

async function runRound(
  addon: Addon,
  session: EngineSession,
  peer: Peer,
  threads: number,
  { decodeTokens, promptTokens }: FileBenchOptions,
): Promise<Round> {
  const prompt = promptOf(promptTokens, usualIds);
  const start = promptOf(decodePromptTokens, usualIds);
  return {
    read: await addon.measureReadBandwidth(1 << 30, threads, 2),
    ourDecode: await ourStepMs(session, "plain", 1, decodeTokens, start),
    peerDecode: await peer.decode(start, decodeTokens),
    ourPrefill: await ourPrefillMs(session, "plain", prompt),
    peerPrefill: await peer.prefill(prompt),
  };
}

function summarise(
  rounds: readonly Round[],
  { native, card }: LoadedEngine,
  peer: Peer,
  threads: number,
  promptTokens: number,
): FileBenchCase {
  const of = (what: keyof Round) => median(rounds.map((round) => round[what]));
  const bytesPerToken = native.info.bytesPerStep.backbone + native.info.bytesPerStep.head;
  return {
    model: card.name,
    threads,
    backend: native.info.backend,
    peer: peer.version,
    readGBps: of("read") / 1e9,
    decode: {
      ours: 1000 / of("ourDecode"),
      peer: 1000 / of("peerDecode"),
      ratio: median(rounds.map((round) => round.peerDecode / round.ourDecode)),
      ofReadBandwidth: bytesPerToken / (of("ourDecode") / 1000) / of("read"),
    },
    prefill: {
      ours: (1000 * promptTokens) / of("ourPrefill"),
      peer: (1000 * promptTokens) / of("peerPrefill"),
      ratio: median(rounds.map((round) => round.peerPrefill / round.ourPrefill)),
    },
    bytesPerToken,
  };
}

export const fileBenchHeading = ["threads", "read GB/s", "decode", "peer", "ratio", "of read", "prefill", "peer", "ratio"];

export function fileBenchRow({ threads, readGBps, decode, prefill }: FileBenchCase): readonly string[] {
  return [
    String(threads),
    readGBps.toFixed(1),
    decode.ours.toFixed(1),
    decode.peer.toFixed(1),
    `${decode.ratio.toFixed(2)}x`,
    `${(100 * decode.ofReadBandwidth).toFixed(0)} %`,
    prefill.ours.toFixed(0),
    prefill.peer.toFixed(0),
    `${prefill.ratio.toFixed(2)}x`,
  ];
}
