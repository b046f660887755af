import type { Addon, CompressorType, ModelConfig, TensorRef, TensorSpec } from "../engine/addon.js";
import { listNames, messageOf } from "../files.js";
import { errorCodeOf, ModelError } from "../modelError.js";
import { plainText } from "../plainText.js";
import { badConfig, type CheckpointConfig } from "./config.js";

/** The engine's one table of tensors: `loadAddon().tensorTable`. */
export type TensorTable = Addon["tensorTable"];

/** What is to be checked: a config, the tensors (adapter already applied) and where the config came from. */
export interface LayoutInput {
  readonly config: CheckpointConfig;
  readonly configFile: string;
  readonly fieldNames: FieldNames;
  readonly tensors: ReadonlyMap<string, TensorRef>;
}

/** How a file itself calls the fields that an error may name. */
export type FieldNames = Readonly<
  Record<
    | "layerTypes"
    | "vocabSize"
    | "hiddenSize"
    | "intermediateSize"
    | "headDim"
    | "numAttentionHeads"
    | "numKeyValueHeads"
    | "linearKeyHeadDim"
    | "linearValueHeadDim"
    | "linearNumKeyHeads"
    | "linearNumValueHeads"
    | "linearConvKernelDim",
    string
  >
>;

/** What the tensors decide. */
export interface Layout {
  readonly tieWordEmbeddings: boolean;
  /** Undefined for a plain checkpoint. */
  readonly compressor: CompressorType | undefined;
  readonly preGate: boolean;
}

/** Reads from the tensors what no config says for certain. Throws `badConfig` with both values where the two contradict. */
export function decideLayout(input: LayoutInput): Layout {
  checkLayers(input);
  const compressor = compressorOf(input);
  const preGate = compressor !== undefined && [...input.tensors.keys()].some((name) => name.startsWith("pre_gate."));
  return { tieWordEmbeddings: tiedOf(input), compressor, preGate };
}

/**
 * The names of the tensors that the engine uses, in its own order. Throws `badConfig` where the config contradicts a
 * tensor, `missingTensor` and `unsupported` (unknown tensors) with names, `badShape` for a single wrong tensor.
 */
export function checkTensors(input: LayoutInput, config: ModelConfig, tensorTable: TensorTable): readonly string[] {
  const table = tableOf(config, tensorTable, input.configFile);
  const expected: Expected = new Map(table.map(({ name, shape }) => [name, shape]));
  checkNothingMissing(input, expected);
  checkDimensions(input, expected);
  checkShapes(input, expected);
  checkNothingUnknown(input, expected, config);
  return [...expected.keys()];
}

function tableOf(config: ModelConfig, tensorTable: TensorTable, configFile: string): readonly TensorSpec[] {
  try {
    return tensorTable(config);
  } catch (error) {
    throw new ModelError(errorCodeOf(error), `${configFile}: ${messageOf(error)}`, { cause: error });
  }
}

function checkLayers({ config, configFile, fieldNames, tensors }: LayoutInput): void {
  let held = 0;
  for (const name of tensors.keys()) {
    const match = /^model\.layers\.(\d{1,9})\./.exec(name);
    if (match) held = Math.max(held, Number(match[1]) + 1);
  }
  const { layerTypes } = config;
  if (held !== layerTypes.length) {
    throw badConfig(
      configFile,
      `says ${fieldNames.layerTypes} ${layerTypes.length}, but the tensors hold ${held} layers`,
    );
  }
  layerTypes.forEach((type, i) => {
    const full = tensors.has(`model.layers.${i}.self_attn.q_proj.weight`);
    const linear = tensors.has(`model.layers.${i}.linear_attn.in_proj_qkv.weight`);
    if (full === linear) return;
    const found = full ? "full_attention" : "linear_attention";
    if (found !== type)
      throw badConfig(configFile, `says layer ${i} is ${type}, but its tensors are those of ${found}`);
  });
}

/** The compressor that the tensors hold; undefined when the checkpoint is a plain one. */
function compressorOf({ config, configFile, tensors }: LayoutInput): CompressorType | undefined {
  const linear = tensors.has("compressor.linear.weight");
  const mlp = tensors.has("compressor.mlp.0.weight");
  if (linear && mlp) {
    throw new ModelError(
      "badFile",
      `The model of ${configFile} holds tensors of a linear and of an mlp compressor. Keep the one that was trained.`,
    );
  }
  const found = linear ? "linear" : mlp ? "mlp" : undefined;
  const declared = config.compressorType;
  if (found && declared && found !== declared) {
    const name = plainText(declared);
    throw badConfig(configFile, `says compressor_type ${name}, but the tensors are those of a ${found} compressor`);
  }
  if (found) return found;
  if (declared !== undefined && declared !== "linear" && declared !== "mlp") {
    throw new ModelError(
      "unsupported",
      `${configFile} asks for compressor_type ${plainText(declared)}; known are linear and mlp.`,
    );
  }
  const partial = [...tensors.keys()].some((n) => n.startsWith("compressor.") || n.startsWith("confidence_head."));
  return config.declaresPipo || partial ? (declared ?? "mlp") : undefined;
}

function tiedOf({ config, configFile, tensors }: LayoutInput): boolean {
  const hasHead = tensors.has("lm_head.weight");
  const declared = config.tieWordEmbeddings;
  if (declared === true && hasHead) {
    throw badConfig(configFile, "says tie_word_embeddings true, but the files hold lm_head.weight");
  }
  if (declared === false && !hasHead) {
    throw new ModelError(
      "missingTensor",
      `${configFile} says tie_word_embeddings false, but lm_head.weight is in no file. Fetch the model again.`,
    );
  }
  return !hasHead;
}

type Shape = readonly number[];
type Expected = ReadonlyMap<string, Shape>;

function checkNothingMissing({ configFile, tensors }: LayoutInput, expected: Expected): void {
  const missing = [...expected.keys()].filter((name) => !tensors.has(name));
  if (missing.length === 0) return;
  throw new ModelError(
    "missingTensor",
    `The model of ${configFile} lacks ${missing.length} of ${expected.size} tensors: ${listNames(missing)}. Fetch or merge it again.`,
  );
}

/** One telling tensor per hyper-parameter: if that one disagrees, it is the config that is wrong. */
function checkDimensions({ config, configFile, fieldNames: names, tensors }: LayoutInput, expected: Expected): void {
  const full = `model.layers.${config.layerTypes.indexOf("full_attention")}.self_attn.`;
  const linear = `model.layers.${config.layerTypes.indexOf("linear_attention")}.linear_attn.`;
  const keyChannels = config.linearNumKeyHeads * config.linearKeyHeadDim;
  const checks: readonly [field: string, value: number, tensor: string, axis: number][] = [
    [names.vocabSize, config.vocabSize, "model.embed_tokens.weight", 0],
    [names.hiddenSize, config.hiddenSize, "model.embed_tokens.weight", 1],
    [names.intermediateSize, config.intermediateSize, "model.layers.0.mlp.gate_proj.weight", 0],
    [names.headDim, config.headDim, `${full}q_norm.weight`, 0],
    [names.numAttentionHeads, config.numAttentionHeads, `${full}q_proj.weight`, 0],
    [names.numKeyValueHeads, config.numKeyValueHeads, `${full}k_proj.weight`, 0],
    [names.linearValueHeadDim, config.linearValueHeadDim, `${linear}norm.weight`, 0],
    [names.linearNumValueHeads, config.linearNumValueHeads, `${linear}A_log`, 0],
    [names.linearConvKernelDim, config.linearConvKernelDim, `${linear}conv1d.weight`, 2],
    [`${names.linearNumKeyHeads} × ${names.linearKeyHeadDim}`, keyChannels, `${linear}in_proj_qkv.weight`, 0],
  ];
  for (const [field, value, name, axis] of checks) {
    const shape = tensors.get(name)?.shape;
    const implied = expected.get(name)?.[axis];
    if (!shape || implied === undefined || shape[axis] === implied) continue;
    const means = implied === value ? "" : ` (${implied} in dimension ${axis})`;
    throw badConfig(configFile, `says ${field} ${value}${means}, but tensor ${name} has shape [${shape.join(", ")}]`);
  }
}

function checkShapes({ tensors }: LayoutInput, expected: Expected): void {
  for (const [name, shape] of expected) {
    const found = tensors.get(name);
    if (!found || sameShape(found.shape, shape)) continue;
    throw new ModelError(
      "badShape",
      `${found.file}: tensor ${name} has shape [${found.shape.join(", ")}], but the config implies [${shape.join(", ")}]. Fetch the model again.`,
    );
  }
}

function checkNothingUnknown({ configFile, tensors }: LayoutInput, expected: Expected, config: ModelConfig): void {
  const unknown = [...tensors.keys()].filter(
    // Qwen3.5's own multi-token head is not used without the other PIPO modules.
    (name) => !expected.has(name) && !(config.pipo === undefined && name.startsWith("mtp.")),
  );
  if (unknown.length === 0) return;
  throw new ModelError(
    "unsupported",
    `The model of ${configFile} holds ${unknown.length} tensors that this engine does not know: ${listNames(unknown)}. It would not compute what the model means.`,
  );
}

function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((dim, i) => dim === b[i]);
}
