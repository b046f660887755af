import path from "node:path";
import { z } from "zod";
import type { TensorRef, TensorSource } from "../engine/addon.js";
import { listNames, parseJson, readText } from "../files.js";
import { ModelError } from "../modelError.js";
import { plainText } from "../plainText.js";
import { compilePattern, PatternProblem, stepBudget, type Matcher, type StepBudget } from "./patterns.js";
import { isCheckpoint } from "./place.js";
import { readSafetensors, type SafetensorsFile } from "./safetensors/header.js";
import { canonicalName, toTensorRef } from "./safetensors/source.js";

/** A PEFT LoRA adapter as it lies on disk. */
export interface Adapter {
  readonly directory: string;
  readonly configText: string;
  /** What `base_model_name_or_path` says. */
  readonly baseName: string | undefined;
  /** LoRA updates by the canonical name of the weight that they change. */
  readonly updates: ReadonlyMap<string, LoraUpdate>;
  /** Tensors that replace those of the base (`modules_to_save`), or that the base lacks. */
  readonly replacements: ReadonlyMap<string, TensorRef>;
  readonly files: readonly SafetensorsFile[];
}

export type LoraUpdate = NonNullable<TensorSource["lora"]>;

export const adapterConfigName = "adapter_config.json";

const pattern = z.record(z.string(), z.number()).nullish();
const adapterSchema = z.object({
  peft_type: z.string().nullish(),
  base_model_name_or_path: z.string().nullish(),
  r: z.number().int().positive(),
  lora_alpha: z.number(),
  use_rslora: z.boolean().nullish(),
  use_dora: z.boolean().nullish(),
  fan_in_fan_out: z.boolean().nullish(),
  layer_replication: z.unknown().optional(),
  alora_invocation_tokens: z.unknown().optional(),
  rank_pattern: pattern,
  alpha_pattern: pattern,
});
type AdapterConfig = z.infer<typeof adapterSchema>;

/** Reads an adapter directory. Errors name the file and say which tensor or setting is not understood. */
export async function readAdapter(directory: string): Promise<Adapter> {
  const configFile = path.join(directory, adapterConfigName);
  const configText = await readText(configFile);
  const config = parseJson(configFile, configText, adapterSchema);
  checkSupported(config, configFile);
  const weights = await readSafetensors(path.join(directory, "adapter_model.safetensors"));
  const { factors, replacements } = sortTensors(weights);
  return {
    directory,
    configText,
    baseName: config.base_model_name_or_path ?? undefined,
    updates: loraUpdates(config, factors, weights.file, modulePatterns(config, configFile)),
    replacements,
    files: [weights],
  };
}

function checkSupported(config: AdapterConfig, file: string): void {
  const refuse = (what: string): never => {
    throw new ModelError(
      "unsupported",
      `${file} ${what}. Merge the adapter into its base with PEFT and load the result.`,
    );
  };
  if (config.peft_type && config.peft_type !== "LORA")
    refuse(`describes a ${plainText(config.peft_type)} adapter; only LORA is merged`);
  if (config.use_dora) refuse("uses DoRA, which is not merged");
  if (config.fan_in_fan_out) refuse("stores transposed weights (fan_in_fan_out), which are not merged");
  if (config.layer_replication) refuse("repeats layers (layer_replication), which is not done here");
  if (config.alora_invocation_tokens) refuse("works only after certain tokens (aLoRA), which cannot be merged");
}

interface Factors {
  a?: TensorRef;
  b?: TensorRef;
}

/** The module path of a stored key: PEFT wraps the model's own names in `base_model.model.` and adapter names. */
export function adapterTarget(stored: string): string {
  return stored.replace(/^(base_model\.model\.)+/, "").replace(/\.modules_to_save\.[^.]+\./, ".");
}

function sortTensors(weights: SafetensorsFile): {
  factors: Map<string, Factors>;
  replacements: Map<string, TensorRef>;
} {
  const factors = new Map<string, Factors>();
  const replacements = new Map<string, TensorRef>();
  const unknown: string[] = [];
  for (const tensor of weights.tensors) {
    if (tensor.name.includes(".original_module.")) continue;
    const name = canonicalName(adapterTarget(tensor.name));
    if (name === undefined) continue;
    const lora = /^(.*)\.lora_([AB])(?:\.[^.]+)?\.weight$/.exec(name);
    if (lora) {
      const entry = factors.get(`${lora[1]}.weight`) ?? {};
      entry[lora[2] === "A" ? "a" : "b"] = toTensorRef(tensor);
      factors.set(`${lora[1]}.weight`, entry);
    } else if (name.includes("lora_")) {
      unknown.push(tensor.name);
    } else {
      replacements.set(name, toTensorRef(tensor));
    }
  }
  if (unknown.length > 0) {
    throw new ModelError(
      "unsupported",
      `${weights.file} holds LoRA tensors of an unknown kind: ${listNames(unknown)}. Merge the adapter with PEFT and load the result.`,
    );
  }
  return { factors, replacements };
}

function loraUpdates(
  config: AdapterConfig,
  factors: ReadonlyMap<string, Factors>,
  file: string,
  { rankOf, alphaOf }: ModulePatterns,
): Map<string, LoraUpdate> {
  const updates = new Map<string, LoraUpdate>();
  for (const [name, { a, b }] of factors) {
    const module = name.slice(0, -".weight".length);
    if (!a || !b)
      throw new ModelError(
        "missingTensor",
        `${file} lacks lora_${a ? "B" : "A"} of ${plainText(module)}. Fetch the adapter again.`,
      );
    const rank = rankOf(module) ?? config.r;
    if (a.shape.length !== 2 || b.shape.length !== 2 || a.shape[0] !== rank || b.shape[1] !== rank) {
      throw new ModelError(
        "badShape",
        `${file}: LoRA factors of ${plainText(module)} have shapes [${a.shape.join(", ")}] and [${b.shape.join(", ")}], but the rank is ${rank}. Fetch the adapter again.`,
      );
    }
    const alpha = alphaOf(module) ?? config.lora_alpha;
    updates.set(name, { a, b, scale: alpha / (config.use_rslora ? Math.sqrt(rank) : rank) });
  }
  return updates;
}

type ValueOfModule = (module: string) => number | undefined;

interface ModulePatterns {
  readonly rankOf: ValueOfModule;
  readonly alphaOf: ValueOfModule;
}

function modulePatterns(config: AdapterConfig, file: string): ModulePatterns {
  const budget = stepBudget();
  return {
    rankOf: patternValues(config.rank_pattern, "rank_pattern", file, budget),
    alphaOf: patternValues(config.alpha_pattern, "alpha_pattern", file, budget),
  };
}

/** PEFT's rule: the first key that matches a module's whole dotted name or an ending of it; keys may be patterns. */
function patternValues(
  patterns: Readonly<Record<string, number>> | null | undefined,
  field: string,
  file: string,
  budget: StepBudget,
): ValueOfModule {
  const explained = <T>(key: string, work: () => T): T => {
    try {
      return work();
    } catch (error) {
      if (!(error instanceof PatternProblem)) throw error;
      throw new ModelError("unsupported", `${file}: the key ${plainText(key)} of ${field} ${error.message}.`);
    }
  };
  const matchers = Object.entries(patterns ?? {}).map(([key, value]): [string, Matcher, number] => [
    key,
    explained(key, () => compilePattern(key, budget)),
    value,
  ]);
  return (module) => matchers.find(([key, matches]) => explained(key, () => matches(module)))?.[2];
}

/**
 * The tensors of base and adapter together, LoRA updates attached to the weights that they change.
 * Throws `missingTensor` for an update without a base weight and `badShape` where factors do not fit it.
 */
export function applyAdapter(
  base: ReadonlyMap<string, TensorRef>,
  adapter: Adapter,
): ReadonlyMap<string, TensorRef & Pick<TensorSource, "lora">> {
  const tensors = new Map<string, TensorRef & Pick<TensorSource, "lora">>([...base, ...adapter.replacements]);
  for (const [name, lora] of adapter.updates) {
    const weight = tensors.get(name);
    if (!weight) {
      throw new ModelError(
        "missingTensor",
        `The adapter in ${adapter.directory} changes ${plainText(name)}, which its base does not hold. Give the base it was trained on.`,
      );
    }
    if (weight.shape.length !== 2 || lora.b.shape[0] !== weight.shape[0] || lora.a.shape[1] !== weight.shape[1]) {
      throw new ModelError(
        "badShape",
        `The adapter in ${adapter.directory} changes ${plainText(name)} as [${lora.b.shape[0]}, ${lora.a.shape[1]}], but in the base it is [${weight.shape.join(", ")}]. Give the base it was trained on.`,
      );
    }
    tensors.set(name, { ...weight, lora });
  }
  return tensors;
}

/** Where the base model lies, where the adapter's own words lead to one on this machine. */
export async function findBase(adapter: Adapter): Promise<string> {
  const name = adapter.baseName;
  for (const candidate of name ? [path.resolve(adapter.directory, name), path.resolve(name)] : []) {
    if (await isCheckpoint(candidate)) return candidate;
  }
  throw new ModelError(
    "io",
    `${adapter.directory} is an adapter of ${name ? plainText(name) : "an unnamed model"}, which is not a directory here. Fetch the base and give it as the model, with this directory as the adapter.`,
  );
}
