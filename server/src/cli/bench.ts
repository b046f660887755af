import path from "node:path";
import { availableParallelism } from "node:os";
import { Command, InvalidArgumentError } from "commander";
import { formatPeerTable, runPeerBench } from "../bench/peer/peerBench.js";
import { shapeNames, type ShapeName } from "../bench/shapes.js";
import { loadAddon } from "../engine/load.js";
import { defaultCacheDirectory } from "../environment.js";
import { integerFrom } from "./options.js";
import { printJson, printLine, printNote, UsageError } from "./report.js";

interface BenchFlags {
  readonly peer?: boolean;
  readonly shapes: readonly ShapeName[];
  readonly dtypes: readonly ("int8" | "int4")[];
  readonly threads: number;
  readonly rounds: number;
  readonly tokens: number;
  readonly prompt: number;
  readonly keep?: boolean;
}

export function benchCommand(): Command {
  return new Command("bench")
    .description("Time the engine on this machine, in turns with llama.cpp on equal shapes, bits and threads.")
    .option("--peer", "compare with llama.cpp from node-llama-cpp, a development dependency")
    .option("--shapes <list>", `model shapes, filled with random weights: ${shapeNames.join(",")}`, listOf(shapeNames), shapeNames)
    .option("--dtypes <list>", "int8 (beside Q8_0), int4 (beside Q4_0)", listOf(["int8", "int4"] as const), ["int8", "int4"] as const)
    .option("--threads <count>", "threads on both sides; 0 takes all cores but one", integerFrom(0), 0)
    .option("--rounds <count>", "interleaved rounds; medians are printed", integerFrom(1), 5)
    .option("--tokens <count>", "decoded tokens a round", integerFrom(2), 24)
    .option("--prompt <tokens>", "prompt length of the prefill", integerFrom(2), 512)
    .option("--keep", "keep the random models for the next run (0.4 to 4.6 GB each)")
    .action(bench);
}

async function bench(flags: BenchFlags): Promise<void> {
  if (!flags.peer) throw new UsageError("Say what to compare with: pipo bench --peer");
  const cases = await runPeerBench(
    loadAddon(),
    {
      shapes: flags.shapes,
      dtypes: flags.dtypes,
      threads: flags.threads || Math.max(1, availableParallelism() - 1),
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

/** A comma-separated list out of a closed set. */
function listOf<T extends string>(allowed: readonly T[]): (text: string) => readonly T[] {
  return (text) =>
    text.split(",").map((word) => {
      const known = allowed.find((name) => name === word.trim());
      if (known === undefined) throw new InvalidArgumentError(`Known: ${allowed.join(", ")}.`);
      return known;
    });
}
