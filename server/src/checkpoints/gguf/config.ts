import { plainText } from "../../plainText.js";
import { badConfig, checkedScaling, noLinearLayers, unsupported, type CheckpointConfig } from "../config.js";
import type { Family } from "../families/family.js";
import { familyOfGguf, knownFamilies } from "../families/registry.js";
import type { FieldNames } from "../layout.js";
import { limits } from "../limits.js";
import type { RopeFields } from "../rope.js";
import type { Metadata } from "./metadata.js";

type ReadFamily = Family & { readonly gguf: { readonly layerTensors: Readonly<Record<string, string>> } };

/** The family of a GGUF file. Throws `unsupported` with the architecture, or with why files of this one are not read. */
export function familyOfFile(metadata: Metadata): ReadFamily {
  const { file } = metadata;
  const architecture = metadata.text("general.architecture");
  if (architecture === undefined) throw badConfig(file, "has no general.architecture; it does not describe a model");
  const type = metadata.text("general.type");
  if (type !== undefined && type !== "model")
    throw unsupported(file, `holds no whole model (general.type ${plainText(type)}). Give the model's own file`);
  const family = familyOfGguf(architecture);
  if (!family) {
    throw unsupported(
      file,
      `holds a model of the architecture ${plainText(architecture)}; this engine runs ${knownFamilies()}`,
    );
  }
  if ("refused" in family.gguf) throw unsupported(file, `holds a ${family.title} model, ${family.gguf.refused}`);
  return { ...family, gguf: family.gguf };
}

/** What only the tensors of a file say. */
export interface TensorFacts {
  /** Rows of the embedding. */
  readonly vocabSize: number;
  readonly hasAttentionBias: boolean;
}

/** Reads the hyper-parameters of a GGUF file. Errors are `unsupported`, `badConfig` or `badFile` and name file and key. */
export function readGgufConfig(metadata: Metadata, family: Family, facts: TensorFacts): CheckpointConfig {
  const { file } = metadata;
  const keys = new Keys(metadata);
  const layers = keys.required("block_count", limits.layers);
  const hiddenSize = keys.required("embedding_length", limits.width);
  const numAttentionHeads = keys.required("attention.head_count", limits.heads);
  const headDim = headDimOf(keys, hiddenSize, numAttentionHeads);
  const numKeyValueHeads = keys.count("attention.head_count_kv", limits.heads) ?? numAttentionHeads;
  if (numAttentionHeads % numKeyValueHeads !== 0) {
    const [many, few] = [keys.name("attention.head_count"), keys.name("attention.head_count_kv")];
    throw badConfig(file, `says ${many} ${numAttentionHeads}, which is not a multiple of ${few} ${numKeyValueHeads}`);
  }
  checkFeatures(keys);
  const maxPositions = keys.required("context_length", limits.positions);
  const window = keys.count("attention.sliding_window", limits.positions, 0) || maxPositions;
  return {
    family: family.name,
    vocabSize: keys.count("vocab_size", limits.width) ?? facts.vocabSize,
    hiddenSize,
    intermediateSize: keys.required("feed_forward_length", limits.width),
    layerTypes: Array.from({ length: layers }, () => "full_attention" as const),
    numAttentionHeads,
    numKeyValueHeads,
    headDim,
    normWeight: family.normWeight,
    rmsNormEps: epsilonOf(keys),
    queryKeyNorm: family.queryKeyNorm,
    outputGate: family.outputGate,
    attentionBias: family.attentionBias || facts.hasAttentionBias,
    rotaryDim: rotaryDimOf(keys, headDim),
    ropeTheta: positive(keys, "rope.freq_base") ?? 10000,
    ...checkedScaling(ropeFields(keys), maxPositions, file),
    ...noLinearLayers,
    maxPositions: Math.min(maxPositions, window),
    tieWordEmbeddings: undefined,
    compressorType: undefined,
    declaresPipo: false,
    padTokenId: undefined,
    realVocabSize: undefined,
  };
}

/** What an error about a field calls it. */
export function ggufFieldNames(metadata: Metadata): FieldNames {
  const keys = new Keys(metadata);
  const heads = keys.name("attention.head_count");
  return {
    layerTypes: keys.name("block_count"),
    vocabSize: keys.name("vocab_size"),
    hiddenSize: keys.name("embedding_length"),
    intermediateSize: keys.name("feed_forward_length"),
    headDim: keys.name("attention.key_length"),
    numAttentionHeads: heads,
    numKeyValueHeads: keys.name("attention.head_count_kv"),
    linearKeyHeadDim: keys.name("ssm.state_size"),
    linearValueHeadDim: keys.name("ssm.state_size"),
    linearNumKeyHeads: keys.name("ssm.group_count"),
    linearNumValueHeads: keys.name("ssm.time_step_rank"),
    linearConvKernelDim: keys.name("ssm.conv_kernel"),
  };
}

/** The keys of one architecture, by their names without it. */
class Keys {
  readonly file: string;
  private readonly prefix: string;

  constructor(readonly metadata: Metadata) {
    this.file = metadata.file;
    this.prefix = metadata.text("general.architecture") ?? "";
  }

  name(key: string): string {
    return `${this.prefix}.${key}`;
  }

  count(key: string, most: number, least = 1): number | undefined {
    const name = this.name(key);
    if (this.metadata.isArray(name)) throw unsupported(this.file, `gives ${name} for each layer, which is not known`);
    return this.metadata.integer(name, least, most);
  }

  required(key: string, most: number): number {
    const value = this.count(key, most);
    if (value === undefined) throw badConfig(this.file, `lacks ${this.name(key)}`);
    return value;
  }

  number(key: string): number | undefined {
    return this.metadata.number(this.name(key));
  }
}

/** Keys that ask for something that is not computed, with the values that ask for nothing. */
const neutralValues: readonly (readonly [key: string, ...neutral: number[]])[] = [
  ["attention.scale", 0],
  ["attention.clamp_kqv", 0],
  ["attn_logit_softcapping", 0],
  ["final_logit_softcapping", 0],
  ["embedding_scale", 0, 1],
  ["residual_scale", 0, 1],
  ["logit_scale", 0, 1],
  ["rope.scaling.alpha", 0],
  ["rope.scaling.yarn_log_multiplier", 0],
  ["rope.scaling.yarn_ext_factor", 1],
  ["rope.scaling.yarn_attn_factor", 1],
];

function checkFeatures(keys: Keys): void {
  if ((keys.count("expert_count", limits.layers, 0) ?? 0) > 1)
    throw unsupported(keys.file, "holds a mixture of experts; only dense models are known");
  for (const [key, ...neutral] of neutralValues) {
    const value = keys.number(key);
    if (value !== undefined && !neutral.includes(value))
      throw unsupported(keys.file, `says ${keys.name(key)} ${value}, which is not known`);
  }
}

function headDimOf(keys: Keys, hiddenSize: number, heads: number): number {
  const keyLength = keys.count("attention.key_length", limits.headDim);
  const valueLength = keys.count("attention.value_length", limits.headDim);
  if (keyLength === undefined && hiddenSize % heads !== 0) {
    const [whole, parts] = [keys.name("embedding_length"), keys.name("attention.head_count")];
    throw badConfig(keys.file, `says ${whole} ${hiddenSize}, which is not a multiple of ${parts} ${heads}`);
  }
  const headDim = keyLength ?? hiddenSize / heads;
  if ((valueLength ?? headDim) === headDim) return headDim;
  throw unsupported(keys.file, `says ${keys.name("attention.value_length")} ${valueLength} beside keys of ${headDim}`);
}

function rotaryDimOf(keys: Keys, headDim: number): number {
  const dimensions = keys.count("rope.dimension_count", limits.headDim) ?? headDim;
  const name = keys.name("rope.dimension_count");
  if (dimensions !== headDim)
    throw unsupported(keys.file, `says ${name} ${dimensions}; heads of ${headDim} are rotated whole`);
  if (dimensions % 2 === 0) return dimensions;
  throw badConfig(keys.file, `rotates ${dimensions} dimensions per head; it must be an even number`);
}

function epsilonOf(keys: Keys): number {
  const key = "attention.layer_norm_rms_epsilon";
  const epsilon = positive(keys, key);
  if (epsilon !== undefined && epsilon <= 1) return epsilon;
  throw badConfig(keys.file, epsilon === undefined ? `lacks ${keys.name(key)}` : `says ${keys.name(key)} ${epsilon}`);
}

function positive(keys: Keys, key: string): number | undefined {
  const value = keys.number(key);
  if (value === undefined || value > 0) return value;
  throw badConfig(keys.file, `says ${keys.name(key)} ${value}; it must be positive`);
}

/** Linear and yarn scaling; that of Llama 3 is a table among the tensors. */
function ropeFields(keys: Keys): RopeFields {
  const factor = positive(keys, "rope.scaling.factor") ?? positive(keys, "rope.scale_linear");
  // A factor without a type means linear scaling.
  const type = keys.metadata.text(keys.name("rope.scaling.type")) ?? (factor === undefined ? undefined : "linear");
  const attention = positive(keys, "rope.scaling.attn_factor");
  if (attention !== undefined && attention !== 1 && type !== "yarn")
    throw unsupported(keys.file, `says ${keys.name("rope.scaling.attn_factor")} ${attention} without yarn`);
  return {
    type,
    factor,
    originalMaxPositions: keys.count("rope.scaling.original_context_length", limits.positions),
    betaFast: positive(keys, "rope.scaling.yarn_beta_fast"),
    betaSlow: positive(keys, "rope.scaling.yarn_beta_slow"),
    // In a GGUF file the factor comes on top of yarn's own.
    ...(attention !== undefined &&
      factor !== undefined && { attentionFactor: attention * (0.1 * Math.log(Math.max(1, factor)) + 1) }),
  };
}
