import type { CompressorType, TensorRef } from "../engine/addon.js";
import { badConfig, type CheckpointConfig } from "./config.js";
import { listNames } from "../files.js";
import { ModelError } from "../modelError.js";

/** What is to be checked: a config, the tensors (adapter already applied) and the file that the config came from. */
export interface LayoutInput {
  readonly config: CheckpointConfig;
  readonly configFile: string;
  readonly tensors: ReadonlyMap<string, TensorRef>;
}

/** What the tensors decide. */
export interface Layout {
  /** Names that the engine uses, in a stable order. */
  readonly names: readonly string[];
  readonly tieWordEmbeddings: boolean;
  /** Undefined for a plain checkpoint. */
  readonly compressor: CompressorType | undefined;
  readonly preGate: boolean;
}

/**
 * Compares config and tensors. Throws `badConfig` with both values where they contradict each other,
 * `missingTensor` and `unsupported` (unknown tensors) with names, `badShape` for a single wrong tensor.
 */
export function checkLayout(input: LayoutInput): Layout {
  checkLayers(input);
  const compressor = compressorOf(input);
  const tieWordEmbeddings = tiedOf(input);
  const preGate = compressor !== undefined && [...input.tensors.keys()].some((name) => name.startsWith("pre_gate."));
  const expected = expectedShapes(input.config, tieWordEmbeddings, compressor, preGate);
  checkNothingMissing(input, expected);
  checkDimensions(input);
  checkShapes(input, expected);
  checkNothingUnknown(input, expected, compressor);
  return { names: [...expected.keys()], tieWordEmbeddings, compressor, preGate };
}

function checkLayers({ config, configFile, tensors }: LayoutInput): void {
  const indices = new Set<number>();
  for (const name of tensors.keys()) {
    const match = /^model\.layers\.(\d+)\./.exec(name);
    if (match) indices.add(Number(match[1]));
  }
  const held = indices.size === 0 ? 0 : Math.max(...indices) + 1;
  if (held !== config.layerTypes.length) {
    throw badConfig(
      configFile,
      `says num_hidden_layers ${config.layerTypes.length}, but the tensors hold ${held} layers`,
    );
  }
  config.layerTypes.forEach((type, i) => {
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
      "The files hold tensors of a linear and of an mlp compressor. Keep the one that was trained.",
    );
  }
  const found = linear ? "linear" : mlp ? "mlp" : undefined;
  const declared = config.compressorType;
  if (found && declared && found !== declared) {
    throw badConfig(configFile, `says compressor_type ${declared}, but the tensors are those of a ${found} compressor`);
  }
  if (found) return found;
  if (declared !== undefined && declared !== "linear" && declared !== "mlp") {
    throw new ModelError(
      "unsupported",
      `${configFile} asks for compressor_type ${declared}; known are linear and mlp.`,
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

/** Every tensor that the engine uses with the shape that the config implies. */
export function expectedShapes(
  config: CheckpointConfig,
  tieWordEmbeddings: boolean,
  compressor: CompressorType | undefined,
  preGate = false,
): ReadonlyMap<string, Shape> {
  const { vocabSize, hiddenSize: hidden } = config;
  const shapes = new Map<string, Shape>();
  const add = (prefix: string, group: Readonly<Record<string, Shape>>) => {
    for (const [name, shape] of Object.entries(group)) shapes.set(prefix + name, shape);
  };
  add("model.", { "embed_tokens.weight": [vocabSize, hidden], "norm.weight": [hidden] });
  if (!tieWordEmbeddings) add("", { "lm_head.weight": [vocabSize, hidden] });
  config.layerTypes.forEach((type, i) => {
    const prefix = `model.layers.${i}.`;
    add(prefix, blockShapes(config));
    add(prefix, type === "full_attention" ? fullAttentionShapes(config) : linearAttentionShapes(config));
  });
  if (compressor) {
    add("mtp.", draftHeadShapes(config));
    add("mtp.layers.0.", { ...blockShapes(config), ...fullAttentionShapes(config) });
    add("compressor.", compressorShapes(hidden, compressor));
    add("confidence_head.", {
      "norm.weight": [2 * hidden],
      "fc1.weight": [hidden, 2 * hidden],
      "fc2.weight": [1, hidden],
    });
    if (preGate) add("pre_gate.", { weight: [1, hidden], bias: [1] });
  }
  return shapes;
}

function blockShapes({ hiddenSize: hidden, intermediateSize: inner }: CheckpointConfig): Record<string, Shape> {
  return {
    "input_layernorm.weight": [hidden],
    "post_attention_layernorm.weight": [hidden],
    "mlp.gate_proj.weight": [inner, hidden],
    "mlp.up_proj.weight": [inner, hidden],
    "mlp.down_proj.weight": [hidden, inner],
  };
}

function fullAttentionShapes(config: CheckpointConfig): Record<string, Shape> {
  const { hiddenSize: hidden, headDim } = config;
  const queries = config.numAttentionHeads * headDim;
  const keys = config.numKeyValueHeads * headDim;
  return {
    // Query and gate rows of each head lie together, hence twice the heads.
    "self_attn.q_proj.weight": [2 * queries, hidden],
    "self_attn.k_proj.weight": [keys, hidden],
    "self_attn.v_proj.weight": [keys, hidden],
    "self_attn.o_proj.weight": [hidden, queries],
    "self_attn.q_norm.weight": [headDim],
    "self_attn.k_norm.weight": [headDim],
  };
}

function linearAttentionShapes(config: CheckpointConfig): Record<string, Shape> {
  const { hiddenSize: hidden, linearNumValueHeads: heads } = config;
  const values = heads * config.linearValueHeadDim;
  const channels = 2 * config.linearNumKeyHeads * config.linearKeyHeadDim + values;
  return {
    "linear_attn.in_proj_qkv.weight": [channels, hidden],
    "linear_attn.in_proj_z.weight": [values, hidden],
    "linear_attn.in_proj_b.weight": [heads, hidden],
    "linear_attn.in_proj_a.weight": [heads, hidden],
    "linear_attn.conv1d.weight": [channels, 1, config.linearConvKernelDim],
    "linear_attn.A_log": [heads],
    "linear_attn.dt_bias": [heads],
    "linear_attn.norm.weight": [config.linearValueHeadDim],
    "linear_attn.out_proj.weight": [hidden, values],
  };
}

function draftHeadShapes({ hiddenSize: hidden }: CheckpointConfig): Record<string, Shape> {
  return {
    "fc.weight": [hidden, 2 * hidden],
    "norm.weight": [hidden],
    "pre_fc_norm_hidden.weight": [hidden],
    "pre_fc_norm_embedding.weight": [hidden],
  };
}

function compressorShapes(hidden: number, compressor: CompressorType): Record<string, Shape> {
  if (compressor === "linear") return { "linear.weight": [hidden, 2 * hidden], "linear.bias": [hidden] };
  return {
    "mlp.0.weight": [2 * hidden, 2 * hidden],
    "mlp.0.bias": [2 * hidden],
    "mlp.2.weight": [hidden, 2 * hidden],
    "mlp.2.bias": [hidden],
  };
}

function checkNothingMissing({ tensors }: LayoutInput, expected: ReadonlyMap<string, Shape>): void {
  const missing = [...expected.keys()].filter((name) => !tensors.has(name));
  if (missing.length === 0) return;
  throw new ModelError(
    "missingTensor",
    `The model lacks ${missing.length} of ${expected.size} tensors: ${listNames(missing)}. Fetch or merge it again.`,
  );
}

/** One telling tensor per hyper-parameter: if that one disagrees, it is the config that is wrong. */
function checkDimensions({ config, configFile, tensors }: LayoutInput): void {
  const full = `model.layers.${config.layerTypes.indexOf("full_attention")}.self_attn.`;
  const linear = `model.layers.${config.layerTypes.indexOf("linear_attention")}.linear_attn.`;
  const { headDim, linearNumValueHeads, linearValueHeadDim } = config;
  const keyChannels = 2 * config.linearNumKeyHeads * config.linearKeyHeadDim;
  const checks: readonly [field: string, value: number, tensor: string, axis: number, implied: number][] = [
    ["vocab_size", config.vocabSize, "model.embed_tokens.weight", 0, config.vocabSize],
    ["hidden_size", config.hiddenSize, "model.embed_tokens.weight", 1, config.hiddenSize],
    ["intermediate_size", config.intermediateSize, "model.layers.0.mlp.gate_proj.weight", 0, config.intermediateSize],
    ["head_dim", headDim, `${full}q_norm.weight`, 0, headDim],
    [
      "num_attention_heads",
      config.numAttentionHeads,
      `${full}q_proj.weight`,
      0,
      2 * config.numAttentionHeads * headDim,
    ],
    ["num_key_value_heads", config.numKeyValueHeads, `${full}k_proj.weight`, 0, config.numKeyValueHeads * headDim],
    ["linear_value_head_dim", linearValueHeadDim, `${linear}norm.weight`, 0, linearValueHeadDim],
    ["linear_num_value_heads", linearNumValueHeads, `${linear}A_log`, 0, linearNumValueHeads],
    ["linear_conv_kernel_dim", config.linearConvKernelDim, `${linear}conv1d.weight`, 2, config.linearConvKernelDim],
    [
      "linear_num_key_heads × linear_key_head_dim",
      keyChannels / 2,
      `${linear}in_proj_qkv.weight`,
      0,
      keyChannels + linearNumValueHeads * linearValueHeadDim,
    ],
  ];
  for (const [field, value, name, axis, implied] of checks) {
    const shape = tensors.get(name)?.shape;
    if (!shape || shape[axis] === implied) continue;
    const means = implied === value ? "" : ` (${implied} in dimension ${axis})`;
    throw badConfig(configFile, `says ${field} ${value}${means}, but tensor ${name} has shape [${shape.join(", ")}]`);
  }
}

function checkShapes({ tensors }: LayoutInput, expected: ReadonlyMap<string, Shape>): void {
  for (const [name, shape] of expected) {
    const found = tensors.get(name);
    if (!found || sameShape(found.shape, shape)) continue;
    throw new ModelError(
      "badShape",
      `${found.file}: tensor ${name} has shape [${found.shape.join(", ")}], but the config implies [${shape.join(", ")}]. Fetch the model again.`,
    );
  }
}

function checkNothingUnknown(
  { tensors }: LayoutInput,
  expected: ReadonlyMap<string, Shape>,
  compressor: CompressorType | undefined,
): void {
  const unknown = [...tensors.keys()].filter(
    // Qwen3.5's own multi-token head is not used without the other PIPO modules.
    (name) => !expected.has(name) && !(compressor === undefined && name.startsWith("mtp.")),
  );
  if (unknown.length === 0) return;
  throw new ModelError(
    "unsupported",
    `The model holds ${unknown.length} tensors that this engine does not know: ${listNames(unknown)}. It would not compute what the model means.`,
  );
}

export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((dim, i) => dim === b[i]);
}
