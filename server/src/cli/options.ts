import { Command, InvalidArgumentError, Option } from "commander";
import type { WeightDtype } from "../engine/addon.js";
import type { EngineDevice, OpenOptions } from "../engine/engine.js";
import { defaultCacheDirectory } from "../environment.js";
import { findModel } from "../models/findModel.js";

/** Flags of every command that loads a model. */
export interface ModelFlags {
  readonly model?: string;
  readonly adapter?: string;
  readonly dtype: DtypeChoice;
  readonly groupSize: 32 | 64;
  readonly threads: number;
  readonly device: EngineDevice;
  readonly kernels?: string;
  readonly cache: boolean;
}

/** `auto`: what suits the checkpoint: the formats of a GGUF file as they are stored, otherwise int8. */
export type DtypeChoice = WeightDtype | "auto";

const dtypes: readonly DtypeChoice[] = ["auto", "f32", "bf16", "int8", "int4", "mix", "stored"];
const devices: readonly EngineDevice[] = ["auto", "cpu", "cuda"];

/** Adds the flags of {@link ModelFlags}. */
export function withModelFlags(command: Command, defaultDtype: DtypeChoice = "auto"): Command {
  return command
    .option("--model <model>", "name that pipo models lists, GGUF file, or checkpoint directory (default: the bundled model)")
    .option("--adapter <directory>", "PEFT LoRA adapter to merge into the model")
    .addOption(new Option("--dtype <format>", "weight format in memory").choices(dtypes).default(defaultDtype))
    .addOption(
      new Option("--group-size <inputs>", "inputs per scale of int8 and int4: 32 or 64")
        .argParser(groupSize)
        .default(32),
    )
    .option("--threads <count>", "worker threads; 0 takes all cores but one, and both of two", integerFrom(0), 0)
    .addOption(
      new Option("--device <name>", "auto: an NVIDIA GPU where one can be used, else the processor")
        .choices(devices)
        .default("auto"),
    )
    .option("--kernels <name>", "kernel target of the processor to force (pipo info lists them)")
    .option("--no-cache", "neither read nor write packed weights");
}

/** The model's directory or file, and how to open it. */
export async function resolveModel(flags: ModelFlags): Promise<{ directory: string; options: OpenOptions }> {
  const { adapter, dtype, groupSize, threads, device, kernels } = flags;
  const options: OpenOptions = {
    ...(dtype !== "auto" && { dtype }),
    groupSize,
    threads,
    device,
    ...(adapter && { adapter: await findModel(adapter) }),
    ...(kernels && { kernels }),
    ...(flags.cache && { packedDirectory: defaultCacheDirectory() }),
  };
  return { directory: await findModel(flags.model), options };
}

function groupSize(text: string): 32 | 64 {
  if (text === "32") return 32;
  if (text === "64") return 64;
  throw new InvalidArgumentError("It must be 32 or 64.");
}

/** A parser for integers with a lower bound. */
export function integerFrom(least: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() !== "" && Number.isSafeInteger(value) && value >= least) return value;
    throw new InvalidArgumentError(`It must be an integer of at least ${least}.`);
  };
}

export function parseNumber(text: string): number {
  const value = Number(text);
  if (text.trim() !== "" && Number.isFinite(value)) return value;
  throw new InvalidArgumentError("It must be a number.");
}

/** `1,2,3`, spaces allowed. */
export function parseIds(text: string): Int32Array {
  const parts = text.split(/[\s,]+/).filter((part) => part !== "");
  const ids = parts.map(Number);
  const wrong = parts.find((_, i) => !Number.isInteger(ids[i]) || ids[i]! < 0 || ids[i]! > 0x7fffffff);
  if (wrong !== undefined) throw new InvalidArgumentError(`"${wrong}" is not a token id.`);
  if (ids.length === 0) throw new InvalidArgumentError("Give at least one id.");
  return Int32Array.from(ids);
}
