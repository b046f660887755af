import { z } from "zod";
import type { LayerType } from "../engine/addon.js";
import { ModelError } from "../modelError.js";

/** Hyper-parameters as `config.json` gives them, defaults filled in, not yet compared with the tensors. */
export interface CheckpointConfig {
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly layerTypes: readonly LayerType[];
  readonly numAttentionHeads: number;
  readonly numKeyValueHeads: number;
  readonly headDim: number;
  readonly rotaryDim: number;
  readonly ropeTheta: number;
  readonly rmsNormEps: number;
  readonly linearConvKernelDim: number;
  readonly linearKeyHeadDim: number;
  readonly linearValueHeadDim: number;
  readonly linearNumKeyHeads: number;
  readonly linearNumValueHeads: number;
  readonly maxPositions: number;
  /** Undefined where the file does not say; the tensors then decide. */
  readonly tieWordEmbeddings: boolean | undefined;
  readonly compressorType: string | undefined;
  /** True when the file declares a PIPO model, so that missing PIPO tensors are an error. */
  readonly declaresPipo: boolean;
  readonly padTokenId: number | undefined;
  readonly realVocabSize: number | undefined;
}

const count = z.number().int().positive();
const optionalCount = count.nullish();

const ropeSchema = z.object({
  rope_type: z.string().nullish(),
  type: z.string().nullish(),
  rope_theta: z.number().positive().nullish(),
  partial_rotary_factor: z.number().positive().max(1).nullish(),
});

const textConfigSchema = z.object({
  model_type: z.string().nullish(),
  architectures: z.array(z.string()).nullish(),
  vocab_size: optionalCount,
  hidden_size: optionalCount,
  intermediate_size: optionalCount,
  num_hidden_layers: optionalCount,
  num_attention_heads: optionalCount,
  num_key_value_heads: optionalCount,
  head_dim: optionalCount,
  hidden_act: z.string().nullish(),
  rms_norm_eps: z.number().positive().nullish(),
  max_position_embeddings: optionalCount,
  tie_word_embeddings: z.boolean().nullish(),
  attention_bias: z.boolean().nullish(),
  attn_output_gate: z.boolean().nullish(),
  linear_conv_kernel_dim: optionalCount,
  linear_key_head_dim: optionalCount,
  linear_value_head_dim: optionalCount,
  linear_num_key_heads: optionalCount,
  linear_num_value_heads: optionalCount,
  layer_types: z.array(z.string()).nullish(),
  full_attention_interval: optionalCount,
  rope_parameters: ropeSchema.nullish(),
  rope_scaling: ropeSchema.nullish(),
  rope_theta: z.number().positive().nullish(),
  partial_rotary_factor: z.number().positive().max(1).nullish(),
  pad_token_id: z.number().int().min(0).nullish(),
  real_vocab_size: optionalCount,
  compressor_type: z.string().nullish(),
  quantization_config: z.looseObject({ quant_method: z.string().nullish() }).nullish(),
});
type TextConfig = z.infer<typeof textConfigSchema>;

/** `config.json`: flat (merged PIPO, text only) or nested under `text_config` beside a vision tower. */
export const configSchema = textConfigSchema.extend({ text_config: textConfigSchema.nullish() });
export type ConfigDocument = z.infer<typeof configSchema>;

const pipoArchitecture = "Qwen3_5ForCausalPIPO";
const supportedModelTypes = ["qwen3_5", "qwen3_5_text"];
const supportedArchitectures = [pipoArchitecture, "Qwen3_5ForCausalLM", "Qwen3_5ForConditionalGeneration"];

/** Checks a parsed `config.json` and fills in defaults. Errors are `unsupported` or `badConfig` and name the file. */
export function readConfig(document: ConfigDocument, file: string): CheckpointConfig {
  const text: TextConfig = document.text_config ?? document;
  checkArchitecture(document, text, file);
  checkFeatures(document, text, file);
  const config = withDefaults(document, text, file);
  checkDivisibility(config, file);
  return config;
}

function checkArchitecture(document: ConfigDocument, text: TextConfig, file: string): void {
  const type = text.model_type ?? document.model_type;
  const architectures = document.architectures ?? text.architectures ?? [];
  if (type === undefined && architectures.length === 0) {
    throw badConfig(file, "names neither model_type nor architectures; it does not describe a model");
  }
  const known = type
    ? supportedModelTypes.includes(type)
    : architectures.some((a) => supportedArchitectures.includes(a));
  const foreign = architectures.length > 0 && !architectures.some((a) => supportedArchitectures.includes(a));
  if (known && !foreign) return;
  const name = [architectures.join(", "), type && `model_type ${type}`].filter(Boolean).join(", ");
  throw unsupported(
    file,
    `describes ${name}; this engine runs Qwen3.5 text models (qwen3_5) and PIPO models made from them`,
  );
}

function checkFeatures(document: ConfigDocument, text: TextConfig, file: string): void {
  const method = text.quantization_config ?? document.quantization_config;
  if (method) {
    const name = method.quant_method ?? "quantised";
    throw unsupported(file, `describes ${name} weights; use the bf16 or f32 checkpoint, it is quantised while loading`);
  }
  if (text.hidden_act && text.hidden_act !== "silu")
    throw unsupported(file, `asks for hidden_act ${text.hidden_act}; only silu is known`);
  if (text.attention_bias) throw unsupported(file, "asks for attention_bias, which Qwen3.5 does not have");
  if (text.attn_output_gate === false) throw unsupported(file, "turns attn_output_gate off, which Qwen3.5 never does");
  const ropeType = ropeOf(text).type;
  if (ropeType !== "default") throw unsupported(file, `asks for rope_type ${ropeType}; only default is known`);
}

function ropeOf(text: TextConfig): { type: string; theta: number; rotaryFactor: number } {
  const nested = text.rope_parameters ?? text.rope_scaling;
  return {
    type: nested?.rope_type ?? nested?.type ?? "default",
    theta: nested?.rope_theta ?? text.rope_theta ?? 1e7,
    rotaryFactor: nested?.partial_rotary_factor ?? text.partial_rotary_factor ?? 0.25,
  };
}

/** Defaults are those of the Qwen3.5 configuration class. */
function withDefaults(document: ConfigDocument, text: TextConfig, file: string): CheckpointConfig {
  const rope = ropeOf(text);
  const headDim = text.head_dim ?? 256;
  const architectures = document.architectures ?? text.architectures ?? [];
  const compressorType = text.compressor_type ?? document.compressor_type ?? undefined;
  return {
    vocabSize: text.vocab_size ?? 248320,
    hiddenSize: text.hidden_size ?? 4096,
    intermediateSize: text.intermediate_size ?? 12288,
    layerTypes: layerTypesOf(text, file),
    numAttentionHeads: text.num_attention_heads ?? 16,
    numKeyValueHeads: text.num_key_value_heads ?? 4,
    headDim,
    rotaryDim: rotaryDimOf(headDim, rope.rotaryFactor, file),
    ropeTheta: rope.theta,
    rmsNormEps: text.rms_norm_eps ?? 1e-6,
    linearConvKernelDim: text.linear_conv_kernel_dim ?? 4,
    linearKeyHeadDim: text.linear_key_head_dim ?? 128,
    linearValueHeadDim: text.linear_value_head_dim ?? 128,
    linearNumKeyHeads: text.linear_num_key_heads ?? 16,
    linearNumValueHeads: text.linear_num_value_heads ?? 32,
    maxPositions: text.max_position_embeddings ?? 32768,
    tieWordEmbeddings: text.tie_word_embeddings ?? document.tie_word_embeddings ?? undefined,
    compressorType,
    declaresPipo: architectures.includes(pipoArchitecture) || compressorType !== undefined,
    padTokenId: text.pad_token_id ?? document.pad_token_id ?? undefined,
    realVocabSize: text.real_vocab_size ?? document.real_vocab_size ?? undefined,
  };
}

function layerTypesOf(text: TextConfig, file: string): readonly LayerType[] {
  const declared = text.layer_types;
  const layers = text.num_hidden_layers ?? declared?.length ?? 32;
  if (!declared) {
    const interval = text.full_attention_interval ?? 4;
    return Array.from({ length: layers }, (_, i) => ((i + 1) % interval === 0 ? "full_attention" : "linear_attention"));
  }
  if (declared.length !== layers) {
    throw badConfig(file, `says num_hidden_layers ${layers}, but layer_types has ${declared.length} entries`);
  }
  return declared.map((type, i) => {
    if (type === "full_attention" || type === "linear_attention") return type;
    throw unsupported(file, `has layer ${i} of type ${type}; known are full_attention and linear_attention`);
  });
}

function rotaryDimOf(headDim: number, factor: number, file: string): number {
  const rotaryDim = Math.trunc(headDim * factor);
  if (rotaryDim >= 2 && rotaryDim % 2 === 0) return rotaryDim;
  throw badConfig(
    file,
    `rotates ${headDim} × ${factor} = ${headDim * factor} dimensions per head; it must be an even number`,
  );
}

function checkDivisibility(config: CheckpointConfig, file: string): void {
  const pairs = [
    ["num_attention_heads", config.numAttentionHeads, "num_key_value_heads", config.numKeyValueHeads],
    ["linear_num_value_heads", config.linearNumValueHeads, "linear_num_key_heads", config.linearNumKeyHeads],
  ] as const;
  for (const [many, n, few, d] of pairs) {
    if (n % d !== 0) throw badConfig(file, `says ${many} ${n}, which is not a multiple of ${few} ${d}`);
  }
  for (const [field, id] of [
    ["pad_token_id", config.padTokenId],
    ["real_vocab_size", config.realVocabSize],
  ] as const) {
    const most = field === "pad_token_id" ? config.vocabSize - 1 : config.vocabSize;
    if (id !== undefined && id > most)
      throw badConfig(file, `says ${field} ${id}, but vocab_size is ${config.vocabSize}`);
  }
}

export function badConfig(file: string, what: string): ModelError {
  return new ModelError("badConfig", `${file} ${what}. Correct the file or fetch the model again.`);
}

function unsupported(file: string, what: string): ModelError {
  return new ModelError("unsupported", `${file} ${what}.`);
}
