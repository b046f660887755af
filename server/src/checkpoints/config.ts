import { z } from "zod";
import type { LayerType, ModelConfig } from "../engine/addon.js";
import { ModelError } from "../modelError.js";
import { plainText } from "../plainText.js";
import type { ConfigClass, Family } from "./families/family.js";
import { declaresPipo, familyOfConfig, knownFamilies } from "./families/registry.js";
import { limits } from "./limits.js";
import { RopeProblem, ropeScalingOf, type RopeFields } from "./rope.js";

/** What a checkpoint's metadata says, defaults filled in, not yet compared with the tensors. */
export interface CheckpointConfig extends Omit<ModelConfig, "realVocabSize" | "tieWordEmbeddings" | "pipo"> {
  /** Undefined where the file does not say; the tensors then decide. */
  readonly tieWordEmbeddings: boolean | undefined;
  readonly compressorType: string | undefined;
  /** True when the file declares a PIPO model, so that missing PIPO tensors are an error. */
  readonly declaresPipo: boolean;
  readonly padTokenId: number | undefined;
  readonly realVocabSize: number | undefined;
}

const countUpTo = (most: number) => z.number().int().positive().max(most).nullish();
const width = countUpTo(limits.width);
const heads = countUpTo(limits.heads);
const headDim = countUpTo(limits.headDim);
const positions = countUpTo(limits.positions);
const id = z.number().int().min(0).nullish();
const real = z.number().nullish();
const flag = z.boolean().nullish();

const ropeSchema = z.object({
  rope_type: z.string().nullish(),
  type: z.string().nullish(),
  rope_theta: z.number().positive().nullish(),
  partial_rotary_factor: z.number().positive().max(1).nullish(),
  factor: real,
  original_max_position_embeddings: positions,
  low_freq_factor: real,
  high_freq_factor: real,
  beta_fast: real,
  beta_slow: real,
  attention_factor: real,
  mscale: real,
  mscale_all_dim: real,
  truncate: flag,
});

const textConfigSchema = z.object({
  model_type: z.string().nullish(),
  architectures: z.array(z.string()).max(16).nullish(),
  vocab_size: width,
  hidden_size: width,
  intermediate_size: width,
  num_hidden_layers: countUpTo(limits.layers),
  num_attention_heads: heads,
  num_key_value_heads: heads,
  head_dim: headDim,
  hidden_act: z.string().nullish(),
  rms_norm_eps: z.number().positive().max(1).nullish(),
  max_position_embeddings: positions,
  original_max_position_embeddings: positions,
  tie_word_embeddings: flag,
  attention_bias: flag,
  mlp_bias: flag,
  num_experts: z.number().nullish(),
  num_local_experts: z.number().nullish(),
  attn_output_gate: flag,
  use_sliding_window: flag,
  sliding_window: positions,
  max_window_layers: z.number().int().min(0).nullish(),
  linear_conv_kernel_dim: countUpTo(limits.convKernel),
  linear_key_head_dim: headDim,
  linear_value_head_dim: headDim,
  linear_num_key_heads: heads,
  linear_num_value_heads: heads,
  layer_types: z.array(z.string()).max(limits.layers).nullish(),
  full_attention_interval: countUpTo(limits.layers),
  rope_parameters: ropeSchema.nullish(),
  rope_scaling: ropeSchema.nullish(),
  rope_theta: z.number().positive().nullish(),
  partial_rotary_factor: z.number().positive().max(1).nullish(),
  pad_token_id: id,
  real_vocab_size: width,
  compressor_type: z.string().nullish(),
  quantization_config: z.looseObject({ quant_method: z.string().nullish() }).nullish(),
});
type TextConfig = z.infer<typeof textConfigSchema>;

/** `config.json`: flat (merged PIPO, text only) or nested under `text_config` beside a vision tower. */
export const configSchema = textConfigSchema.extend({ text_config: textConfigSchema.nullish() });
export type ConfigDocument = z.infer<typeof configSchema>;

/** A `config.json` in the hands of its reader: the part about text, and what its family says about it. */
interface Reading {
  readonly file: string;
  readonly document: ConfigDocument;
  readonly text: TextConfig;
  readonly architectures: readonly string[];
  readonly family: Family;
  readonly configClass: ConfigClass;
}

/** Checks a parsed `config.json` and fills in defaults. Errors are `unsupported` or `badConfig` and name the file. */
export function readConfig(document: ConfigDocument, file: string): CheckpointConfig {
  const text: TextConfig = document.text_config ?? document;
  const architectures = document.architectures ?? text.architectures ?? [];
  const type = text.model_type ?? document.model_type ?? undefined;
  const reading = { file, document, text, architectures, ...familyOf(type, architectures, file) };
  checkFeatures(reading);
  const config = withDefaults(reading, layersOf(reading));
  checkDivisibility(config, file);
  return config;
}

function familyOf(
  type: string | undefined,
  architectures: readonly string[],
  file: string,
): Pick<Reading, "family" | "configClass"> {
  if (type === undefined && architectures.length === 0) {
    throw badConfig(file, "names neither model_type nor architectures; it does not describe a model");
  }
  const found = familyOfConfig(type, architectures);
  if (found) return found;
  const name = [architectures.join(", "), type && `model_type ${type}`].filter(Boolean).join(", ");
  throw unsupported(
    file,
    `describes ${plainText(name)}; this engine runs ${knownFamilies()} and PIPO models made from them`,
  );
}

function checkFeatures({ file, document, text, family }: Reading): void {
  const method = text.quantization_config ?? document.quantization_config;
  if (method) {
    const name = plainText(method.quant_method ?? "quantised");
    throw unsupported(file, `describes ${name} weights; use the bf16 or f32 checkpoint, it is quantised while loading`);
  }
  if (text.hidden_act && text.hidden_act !== "silu")
    throw unsupported(file, `asks for hidden_act ${plainText(text.hidden_act)}; only silu is known`);
  // In the classes that have this field, the output projection has a bias too.
  if (text.attention_bias && !family.attentionBias)
    throw unsupported(file, `asks for attention_bias, which is not known in ${family.title} models`);
  if (text.mlp_bias) throw unsupported(file, "asks for mlp_bias; MLPs with biases are not known");
  if ((text.num_experts ?? 0) > 1 || (text.num_local_experts ?? 0) > 1)
    throw unsupported(file, "describes a mixture of experts; only dense models are known");
  if (text.attn_output_gate != null && text.attn_output_gate !== family.outputGate)
    throw unsupported(file, `says attn_output_gate ${text.attn_output_gate}, which ${family.title} models never do`);
}

interface Layers {
  readonly types: readonly LayerType[];
  /** Positions that a window leaves in sight; undefined for all. */
  readonly window: number | undefined;
}

function layersOf(reading: Reading): Layers {
  const { file, text, family, configClass } = reading;
  const declared = text.layer_types;
  const count = text.num_hidden_layers ?? declared?.length ?? configClass.defaults.layers;
  if (declared && declared.length !== count) {
    throw badConfig(file, `says num_hidden_layers ${count}, but layer_types has ${declared.length} entries`);
  }
  const types = Array.from({ length: count }, (_, i): LayerType => {
    if (declared) return layerType(declared[i]!, i, reading);
    const interval = text.full_attention_interval ?? 4;
    return !family.linearAttention || (i + 1) % interval === 0 ? "full_attention" : "linear_attention";
  });
  const window = windowOf(text, configClass, count);
  if (declared?.includes("sliding_attention") && window === undefined)
    throw badConfig(file, "has layers of type sliding_attention, but no sliding_window");
  return { types, window };
}

function layerType(declared: string, layer: number, { file, family }: Reading): LayerType {
  if (declared === "full_attention") return declared;
  if (declared === "linear_attention" && family.linearAttention) return declared;
  if (declared === "sliding_attention" && !family.linearAttention) return "full_attention";
  const known = family.linearAttention ? "linear_attention" : "sliding_attention";
  throw unsupported(file, `has layer ${layer} of type ${plainText(declared)}; known are full_attention and ${known}`);
}

/** Attention within a window is attention to everything as long as a text is not longer than the window. */
function windowOf(text: TextConfig, { slidingWindow, defaults }: ConfigClass, layers: number): number | undefined {
  const window = text.sliding_window === null ? undefined : (text.sliding_window ?? defaults.slidingWindow);
  if (slidingWindow === "always" || text.layer_types?.includes("sliding_attention")) return window;
  const switched = slidingWindow === "switched" && text.use_sliding_window && !text.layer_types;
  return switched && layers > (text.max_window_layers ?? 28) ? window : undefined;
}

function withDefaults(reading: Reading, layers: Layers): CheckpointConfig {
  const { file, document, text, architectures, family } = reading;
  const { defaults } = reading.configClass;
  const hiddenSize = text.hidden_size ?? defaults.hiddenSize;
  const numAttentionHeads = text.num_attention_heads ?? defaults.heads;
  const size = text.head_dim ?? defaults.headDim ?? sizeOfHeads(hiddenSize, numAttentionHeads, file);
  // Null means one for each head, in every class that has the field.
  const fewer = text.num_key_value_heads === null ? undefined : (text.num_key_value_heads ?? defaults.keyValueHeads);
  const maxPositions = text.max_position_embeddings ?? defaults.maxPositions;
  const compressorType = text.compressor_type ?? document.compressor_type ?? undefined;
  return {
    family: family.name,
    vocabSize: text.vocab_size ?? defaults.vocabSize,
    hiddenSize,
    intermediateSize: text.intermediate_size ?? defaults.intermediateSize,
    layerTypes: layers.types,
    numAttentionHeads,
    numKeyValueHeads: fewer ?? numAttentionHeads,
    headDim: size,
    normWeight: family.normWeight,
    rmsNormEps: text.rms_norm_eps ?? defaults.rmsNormEps,
    queryKeyNorm: family.queryKeyNorm,
    outputGate: family.outputGate,
    attentionBias: family.attentionBias,
    ...ropeOf(reading, size, maxPositions),
    ...linearOf(text, family),
    maxPositions: Math.min(maxPositions, layers.window ?? maxPositions),
    tieWordEmbeddings: text.tie_word_embeddings ?? document.tie_word_embeddings ?? undefined,
    compressorType,
    declaresPipo: declaresPipo(architectures) || compressorType !== undefined,
    padTokenId: text.pad_token_id ?? document.pad_token_id ?? undefined,
    realVocabSize: text.real_vocab_size ?? document.real_vocab_size ?? undefined,
  };
}

function sizeOfHeads(hiddenSize: number, count: number, file: string): number {
  if (hiddenSize % count === 0) return hiddenSize / count;
  throw badConfig(file, `says hidden_size ${hiddenSize}, which is not a multiple of num_attention_heads ${count}`);
}

type RopeConfig = Pick<ModelConfig, "rotaryDim" | "ropeTheta" | "ropeScaling">;

function ropeOf({ file, text, family, configClass }: Reading, size: number, maxPositions: number): RopeConfig {
  const { defaults } = configClass;
  const nested = text.rope_parameters ?? text.rope_scaling ?? {};
  const rotaryFactor = nested.partial_rotary_factor ?? text.partial_rotary_factor ?? defaults.rotaryFactor;
  if (rotaryFactor !== 1 && !family.partialRotary)
    throw unsupported(file, `says partial_rotary_factor ${rotaryFactor}; ${family.title} models rotate whole heads`);
  if (nested.truncate === false) throw unsupported(file, "turns truncate of yarn rope scaling off, which is not known");
  const fields: RopeFields = {
    type: nested.rope_type ?? nested.type ?? undefined,
    factor: nested.factor ?? undefined,
    originalMaxPositions:
      text.original_max_position_embeddings ?? nested.original_max_position_embeddings ?? undefined,
    lowFrequencyFactor: nested.low_freq_factor ?? undefined,
    highFrequencyFactor: nested.high_freq_factor ?? undefined,
    betaFast: nested.beta_fast ?? undefined,
    betaSlow: nested.beta_slow ?? undefined,
    attentionFactor: nested.attention_factor ?? undefined,
    mscale: nested.mscale ?? undefined,
    mscaleAllDim: nested.mscale_all_dim ?? undefined,
  };
  return {
    rotaryDim: rotaryDimOf(size, rotaryFactor, file),
    ropeTheta: nested.rope_theta ?? text.rope_theta ?? defaults.ropeTheta,
    ...checkedScaling(fields, maxPositions, file),
  };
}

/** The scaling as a part of a ModelConfig; problems become errors that name the file. */
export function checkedScaling(
  fields: RopeFields,
  maxPositions: number,
  file: string,
): Pick<ModelConfig, "ropeScaling"> {
  try {
    const ropeScaling = ropeScalingOf(fields, maxPositions);
    return ropeScaling ? { ropeScaling } : {};
  } catch (error) {
    if (!(error instanceof RopeProblem)) throw error;
    throw error.code === "unsupported" ? unsupported(file, error.message) : badConfig(file, error.message);
  }
}

function rotaryDimOf(size: number, factor: number, file: string): number {
  const rotaryDim = Math.trunc(size * factor);
  if (rotaryDim >= 2 && rotaryDim % 2 === 0) return rotaryDim;
  throw badConfig(
    file,
    `rotates ${size} × ${factor} = ${size * factor} dimensions per head; it must be an even number`,
  );
}

type LinearConfig = Pick<
  ModelConfig,
  "linearConvKernelDim" | "linearKeyHeadDim" | "linearValueHeadDim" | "linearNumKeyHeads" | "linearNumValueHeads"
>;

/** Sizes of recurrent layers of a family that has none. */
export const noLinearLayers: LinearConfig = {
  linearConvKernelDim: 0,
  linearKeyHeadDim: 0,
  linearValueHeadDim: 0,
  linearNumKeyHeads: 0,
  linearNumValueHeads: 0,
};

function linearOf(text: TextConfig, family: Family): LinearConfig {
  if (!family.linearAttention) return noLinearLayers;
  return {
    linearConvKernelDim: text.linear_conv_kernel_dim ?? 4,
    linearKeyHeadDim: text.linear_key_head_dim ?? 128,
    linearValueHeadDim: text.linear_value_head_dim ?? 128,
    linearNumKeyHeads: text.linear_num_key_heads ?? 16,
    linearNumValueHeads: text.linear_num_value_heads ?? 32,
  };
}

function checkDivisibility(config: CheckpointConfig, file: string): void {
  const pairs = [
    ["num_attention_heads", config.numAttentionHeads, "num_key_value_heads", config.numKeyValueHeads],
    ["linear_num_value_heads", config.linearNumValueHeads, "linear_num_key_heads", config.linearNumKeyHeads],
  ] as const;
  for (const [many, n, few, d] of pairs) {
    if (d > 0 && n % d !== 0) throw badConfig(file, `says ${many} ${n}, which is not a multiple of ${few} ${d}`);
  }
  for (const [field, value] of [
    ["pad_token_id", config.padTokenId],
    ["real_vocab_size", config.realVocabSize],
  ] as const) {
    const most = field === "pad_token_id" ? config.vocabSize - 1 : config.vocabSize;
    if (value !== undefined && value > most)
      throw badConfig(file, `says ${field} ${value}, but vocab_size is ${config.vocabSize}`);
  }
}

export function badConfig(file: string, what: string): ModelError {
  return new ModelError("badConfig", `${file} ${what}. Correct the file or fetch the model again.`);
}

export function unsupported(file: string, what: string): ModelError {
  return new ModelError("unsupported", `${file} ${what}.`);
}
