import { readFile } from "node:fs/promises";
import path from "node:path";
import { gunzipSync } from "node:zlib";
import { Command, InvalidArgumentError, Option } from "commander";
import { compareDistributions } from "../bench/peer/agreement.js";
import { compareCursors, type HeldOutText } from "../bench/peer/cursors.js";
import { fileBenchHeading, fileBenchRow, runFileBench } from "../bench/peer/fileBench.js";
import { formatPeerTable, runPeerBench } from "../bench/peer/peerBench.js";
import { probeStart, runStartBench, startBenchHeading, startBenchRows, type ProbedSide } from "../bench/peer/startBench.js";
import { shapeNames, type ShapeName } from "../bench/shapes.js";
import { formatTable } from "../bench/table.js";
import { loadAddon } from "../engine/load.js";
import { defaultThreads } from "../engine/threads.js";
import { defaultCacheDirectory } from "../environment.js";
import { findModel } from "../models/findModel.js";
import { packageRoot } from "../packageRoot.js";
import { integerFrom } from "./options.js";
import { printJson, printLine, printNote, UsageError } from "./report.js";

interface BenchFlags {
  readonly peer?: boolean;
  readonly model?: string;
  readonly agreement?: number;
  readonly cursors?: number;
  readonly shapes: readonly ShapeName[];
  readonly dtypes: readonly ("int8" | "int4")[];
  readonly threads: readonly number[];
  readonly rounds: number;
  readonly tokens: number;
  readonly prompt: number;
  readonly keep?: boolean;
  readonly probe?: ProbedSide;
  readonly packed?: string;
}

export function benchCommand(): Command {
  return new Command("bench")
    .description("Time the engine on this machine, in turns with llama.cpp on the same file, or on equal shapes and bits.")
    .option("--peer", "compare with llama.cpp from node-llama-cpp, a development dependency")
    .option("--model <file>", "a GGUF file that both run: speed, starts, memory (default: random weights in --shapes)")
    .option("--agreement <tokens>", "compare distributions of the next token on held-out code instead", integerFrom(1))
    .option("--cursors <count>", "compare how often the rest of a line is right at random cursors of held-out code", integerFrom(1))
    .option("--shapes <list>", `model shapes, filled with random weights: ${shapeNames.join(",")}`, listOf(shapeNames), shapeNames)
    .option("--dtypes <list>", "int8 (beside Q8_0), int4 (beside Q4_0)", listOf(["int8", "int4"] as const), ["int8", "int4"] as const)
    .option("--threads <list>", "threads on both sides, a row for each; 0 takes what the engine takes by itself", threadList, threadList("0"))
    .option("--rounds <count>", "interleaved rounds; medians are printed", integerFrom(1), 5)
    .option("--tokens <count>", "decoded tokens a round", integerFrom(2), 24)
    .option("--prompt <tokens>", "prompt length of the prefill", integerFrom(2), 512)
    .option("--keep", "keep the random models for the next run (0.4 to 4.6 GB each)")
    .addOption(new Option("--probe <side>", "one measured start").choices(["ours", "peer"]).hideHelp())
    .addOption(new Option("--packed <folder>", "packed weights of a measured start").hideHelp())
    .action(bench);
}

async function bench(flags: BenchFlags): Promise<void> {
  if (flags.probe) return probe(flags.probe, flags);
  if (!flags.peer) throw new UsageError("Say what to compare with: pipo bench --peer");
  if (flags.agreement !== undefined) return benchAgreement(flags.agreement, flags);
  if (flags.cursors !== undefined) return benchCursors(flags.cursors, flags);
  return flags.model === undefined ? benchShapes(flags) : benchFile(flags);
}

async function probe(side: ProbedSide, flags: BenchFlags): Promise<void> {
  if (flags.model === undefined || flags.packed === undefined) throw new UsageError("--probe needs --model and --packed.");
  printJson(await probeStart(side, await findModel(flags.model), flags.threads[0]!, flags.packed));
  // The peer's library keeps the process alive for a while.
  process.exit(0);
}

async function benchFile(flags: BenchFlags): Promise<void> {
  const file = await findModel(flags.model);
  const { rounds, tokens: decodeTokens, prompt: promptTokens } = flags;
  const packedDirectory = defaultCacheDirectory();
  const cases = await runFileBench(
    loadAddon(),
    { file, threads: flags.threads, rounds, decodeTokens, promptTokens, packedDirectory },
    printNote,
  );
  printLine(formatTable(fileBenchHeading, cases.map(fileBenchRow)));
  printLine(`Tokens per second of ${cases[0]!.model}; ratios are medians of adjacent runs. Plain decoding, 1 token per step.`);
  const starts = await runStartBench(process.argv[1]!, file, flags.threads.at(-1)!);
  printLine();
  printLine(formatTable(startBenchHeading, startBenchRows(starts)));
  printLine("Each in a process of its own; memory of the whole process after a prompt of 1000 tokens.");
  printJson({ bench: "peerFile", cpu: loadAddon().hostInfo().cpu, cases, starts });
}

async function benchAgreement(tokens: number, flags: BenchFlags): Promise<void> {
  const texts = (await heldOut()).map(({ text }) => text);
  const result = await compareDistributions({ ...(await fileOptions(flags)), texts, tokens }, printNote);
  const percent = (100 * result.sameBest).toFixed(2);
  printLine(`${result.positions} positions: mean KL ${result.meanKl.toFixed(5)} nats, 99 % below ${result.p99Kl.toFixed(4)}, best token equal ${percent} %`);
  printJson({ bench: "agreement", cpu: loadAddon().hostInfo().cpu, model: flags.model, ...result });
}

async function benchCursors(cursors: number, flags: BenchFlags): Promise<void> {
  const result = await compareCursors({ ...(await fileOptions(flags)), texts: await heldOut(), cursors }, printNote);
  const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
  printLine(`${result.cursors} cursors: rest of the line exactly right ours ${percent(result.ours)}, llama.cpp ${percent(result.peer)}; the same line ${percent(result.same)}`);
  printJson({ bench: "cursors", cpu: loadAddon().hostInfo().cpu, model: flags.model, ...result });
}

/** What both comparisons of answers need of the flags. */
async function fileOptions({ model, threads }: BenchFlags) {
  if (model === undefined) throw new UsageError("Name a GGUF file that both run: --model FILE");
  return { file: await findModel(model), threads: threads.at(-1)!, packedDirectory: defaultCacheDirectory() };
}

/** Code that no model here was trained on by us; part of the checkout. */
async function heldOut(): Promise<readonly HeldOutText[]> {
  const file = path.join(packageRoot(), "models", "comparison", "held-out.jsonl.gz");
  const lines = gunzipSync(await readFile(file)).toString("utf8").split("\n");
  return lines.filter((line) => line !== "").map((line) => JSON.parse(line) as HeldOutText);
}

async function benchShapes(flags: BenchFlags): Promise<void> {
  const cases = await runPeerBench(
    loadAddon(),
    {
      shapes: flags.shapes,
      dtypes: flags.dtypes,
      threads: flags.threads[0]!,
      rounds: flags.rounds,
      decodeTokens: flags.tokens,
      promptTokens: flags.prompt,
      cacheDirectory: path.join(defaultCacheDirectory(), "bench"),
      keep: flags.keep ?? false,
    },
    printNote,
  );
  printLine(formatPeerTable(cases));
  printLine("Tokens per second; ratios are medians of adjacent runs. Decode: plain, 1 token per step, random weights.");
  printJson({ bench: "peer", cpu: loadAddon().hostInfo().cpu, cases });
}

/** `1,2`; 0 stands for what the engine takes by itself. */
function threadList(text: string): readonly number[] {
  return text.split(",").map((word) => integerFrom(0)(word) || defaultThreads());
}

/** A comma-separated list out of a closed set. */
function listOf<T extends string>(allowed: readonly T[]): (text: string) => readonly T[] {
  return (text) =>
    text.split(",").map((word) => {
      const known = allowed.find((name) => name === word.trim());
      if (known === undefined) throw new InvalidArgumentError(`Known: ${allowed.join(", ")}.`);
      return known;
    });
}
