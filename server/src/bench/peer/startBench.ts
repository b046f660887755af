import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { loadModel } from "../../engine/engine.js";
import { openPeer } from "./llamaCpp.js";
import { promptOf } from "./timing.js";

/** What starting costs and what stays in memory, each measured in a process of its own that does nothing else. */

export type ProbedSide = "ours" | "peer";

export interface Probe {
  /** From a file on disk to a model that takes requests, tokenizer included. */
  readonly loadMs: number;
  /** Resident memory of the whole process after a prompt and a few tokens. */
  readonly residentBytes: number;
  /** Of that, weights as they lie in memory; 0 where the side does not say. */
  readonly weightBytes: number;
}

export interface StartBench {
  /** Nothing packed yet. */
  readonly first: Probe;
  /** With the packed file of the first start. */
  readonly second: Probe;
  readonly peer: Probe;
}

const probedIds = 40_000;
const contextSize = 1_400;
const promptTokens = 1_000;
const decodedTokens = 8;

/** `program` is the command line's own file, which answers `bench --probe`. */
export async function runStartBench(program: string, file: string, threads: number): Promise<StartBench> {
  const folder = await mkdtemp(path.join(tmpdir(), "pipo-start-"));
  const probe = (side: ProbedSide) =>
    probeInProcess(program, ["bench", "--probe", side, "--model", file, "--threads", String(threads), "--packed", folder]);
  try {
    return { first: await probe("ours"), second: await probe("ours"), peer: await probe("peer") };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function probeInProcess(program: string, flags: readonly string[]): Promise<Probe> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [program, ...flags], { stdio: ["ignore", "pipe", "inherit"] });
    let output = "";
    child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
    child.on("error", reject);
    child.on("exit", (code) => {
      if (code === 0) resolve(JSON.parse(output) as Probe);
      else reject(new Error(`A measuring process ended with ${code}: ${flags.join(" ")}`));
    });
  });
}

/** The measurement itself, inside the process that {@link runStartBench} starts. */
export function probeStart(side: ProbedSide, file: string, threads: number, packedDirectory: string): Promise<Probe> {
  return side === "ours" ? probeOurs(file, threads, packedDirectory) : probePeer(file, threads);
}

async function probeOurs(file: string, threads: number, packedDirectory: string): Promise<Probe> {
  const started = performance.now();
  const model = await loadModel(file, { threads, packedDirectory, device: "cpu" });
  const session = model.createSession(contextSize);
  const loadMs = performance.now() - started;
  await session.generate({ promptIds: promptOf(promptTokens, probedIds), maxNewTokens: decodedTokens, mode: "plain" });
  return { loadMs, residentBytes: process.memoryUsage().rss, weightBytes: model.info.weightBytes };
}

async function probePeer(file: string, threads: number): Promise<Probe> {
  const started = performance.now();
  const peer = await openPeer(file, { threads, contextSize });
  const loadMs = performance.now() - started;
  await peer.prefill(promptOf(promptTokens, probedIds));
  await peer.decode(promptOf(decodedTokens, probedIds), decodedTokens);
  return { loadMs, residentBytes: process.memoryUsage().rss, weightBytes: 0 };
}

export const startBenchHeading = ["start", "ms", "resident MB", "weights MB"];

export function startBenchRows({ first, second, peer }: StartBench): readonly (readonly string[])[] {
  const row = (name: string, probe: Probe) => [
    name,
    probe.loadMs.toFixed(0),
    (probe.residentBytes / 1e6).toFixed(0),
    probe.weightBytes === 0 ? "" : (probe.weightBytes / 1e6).toFixed(0),
  ];
  return [row("first", first), row("second", second), row("peer", peer)];
}
