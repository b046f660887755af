import type { Command } from "commander";
import type { SamplingOptions } from "../engine/addon.js";
import { integerFrom, parseNumber } from "./options.js";

/** Adds one flag per field of {@link SamplingOptions}; all of them off means greedy. */
export function withSamplingFlags(command: Command): Command {
  return command
    .option("--temperature <t>", "0 is greedy", parseNumber, 0)
    .option("--top-k <k>", "0 is off", integerFrom(0), 0)
    .option("--top-p <p>", "1 is off", parseNumber, 1)
    .option("--min-p <p>", "0 is off", parseNumber, 0)
    .option("--presence-penalty <x>", "0 is off", parseNumber, 0)
    .option("--repetition-penalty <x>", "1 is off", parseNumber, 1)
    .option("--seed <n>", "equal seeds give equal draws", integerFrom(0), 0);
}

export function samplingOf(flags: SamplingOptions): SamplingOptions {
  const { temperature, topK, topP, minP, presencePenalty, repetitionPenalty, seed } = flags;
  return { temperature, topK, topP, minP, presencePenalty, repetitionPenalty, seed };
}
