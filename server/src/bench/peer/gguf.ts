import { createHash } from "node:crypto";
import { open, rename, stat, type FileHandle } from "node:fs/promises";
import type { ModelConfig } from "../../engine/addon.js";

/**
 * Writes a GGUF file of a Qwen3.5 shape with random weights, so that llama.cpp can be timed on exactly the shapes
 * that our engine is timed on. Timing does not depend on the values; they only have to be finite.
 */

export type GgufQuantisation = "Q4_0" | "Q8_0";

const tensorTypes = {
  F32: { id: 0, blockValues: 1, blockBytes: 4 },
  Q4_0: { id: 2, blockValues: 32, blockBytes: 18 },
  Q8_0: { id: 8, blockValues: 32, blockBytes: 34 },
  Q6_K: { id: 14, blockValues: 256, blockBytes: 210 },
} as const;
type TensorType = keyof typeof tensorTypes;

interface Tensor {
  readonly name: string;
  /** Fastest-varying dimension first, as GGUF stores them. */
  readonly dims: readonly number[];
  readonly type: TensorType;
}

const alignment = 32;
const aligned = (bytes: number) => Math.ceil(bytes / alignment) * alignment;

function tensorBytes(tensor: Tensor): number {
  const { blockValues, blockBytes } = tensorTypes[tensor.type];
  return (tensor.dims.reduce((a, b) => a * b, 1) / blockValues) * blockBytes;
}

/** The tensors of a tied Qwen3.5 decoder under llama.cpp's names. */
function tensorsOf(config: ModelConfig, quantisation: GgufQuantisation): readonly Tensor[] {
  const hidden = config.hiddenSize;
  const keyWidth = config.linearNumKeyHeads * config.linearKeyHeadDim;
  const valueWidth = config.linearNumValueHeads * config.linearValueHeadDim;
  const channels = 2 * keyWidth + valueWidth;
  const queryWidth = config.numAttentionHeads * config.headDim;
  const kvWidth = config.numKeyValueHeads * config.headDim;
  const tensors: Tensor[] = [
    // llama-quantize keeps a tied output matrix at Q6_K in a Q4_0 file.
    { name: "token_embd.weight", dims: [hidden, config.vocabSize], type: quantisation === "Q4_0" ? "Q6_K" : "Q8_0" },
    { name: "output_norm.weight", dims: [hidden], type: "F32" },
  ];
  config.layerTypes.forEach((layerType, layer) => {
    const add = (name: string, dims: readonly number[], type: TensorType = quantisation) =>
      tensors.push({ name: `blk.${layer}.${name}`, dims, type });
    add("attn_norm.weight", [hidden], "F32");
    add("post_attention_norm.weight", [hidden], "F32");
    if (layerType === "full_attention") {
      add("attn_q.weight", [hidden, 2 * queryWidth]);
      add("attn_k.weight", [hidden, kvWidth]);
      add("attn_v.weight", [hidden, kvWidth]);
      add("attn_output.weight", [queryWidth, hidden]);
      add("attn_q_norm.weight", [config.headDim], "F32");
      add("attn_k_norm.weight", [config.headDim], "F32");
    } else {
      add("attn_qkv.weight", [hidden, channels]);
      add("attn_gate.weight", [hidden, valueWidth]);
      add("ssm_conv1d.weight", [config.linearConvKernelDim, channels], "F32");
      add("ssm_dt.bias", [config.linearNumValueHeads], "F32");
      add("ssm_a", [config.linearNumValueHeads], "F32");
      add("ssm_beta.weight", [hidden, config.linearNumValueHeads]);
      add("ssm_alpha.weight", [hidden, config.linearNumValueHeads]);
      add("ssm_norm.weight", [config.linearValueHeadDim], "F32");
      add("ssm_out.weight", [valueWidth, hidden]);
    }
    add("ffn_gate.weight", [hidden, config.intermediateSize]);
    add("ffn_up.weight", [hidden, config.intermediateSize]);
    add("ffn_down.weight", [config.intermediateSize, hidden]);
  });
  return tensors;
}

type Value =
  | { readonly u32: number }
  | { readonly f32: number }
  | { readonly text: string }
  | { readonly i32s: readonly number[] }
  | { readonly texts: readonly string[] };

/** Byte-level tokens and fillers: the peer is fed ids, but does not start without a tokenizer. */
function fillerVocabulary(size: number): readonly string[] {
  const printable = (byte: number) => (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
  let shifted = 256;
  const bytes = Array.from({ length: 256 }, (_, byte) => String.fromCharCode(printable(byte) ? byte : shifted++));
  return Array.from({ length: size }, (_, id) => bytes[id] ?? `filler${id}`);
}

function metadataOf(config: ModelConfig, name: string): readonly (readonly [string, Value])[] {
  const arch = "qwen35";
  return [
    ["general.architecture", { text: arch }],
    ["general.name", { text: name }],
    ["general.alignment", { u32: alignment }],
    [`${arch}.block_count`, { u32: config.layerTypes.length }],
    [`${arch}.context_length`, { u32: config.maxPositions }],
    [`${arch}.embedding_length`, { u32: config.hiddenSize }],
    [`${arch}.feed_forward_length`, { u32: config.intermediateSize }],
    [`${arch}.vocab_size`, { u32: config.vocabSize }],
    [`${arch}.attention.head_count`, { u32: config.numAttentionHeads }],
    [`${arch}.attention.head_count_kv`, { u32: config.numKeyValueHeads }],
    [`${arch}.attention.key_length`, { u32: config.headDim }],
    [`${arch}.attention.value_length`, { u32: config.headDim }],
    [`${arch}.attention.layer_norm_rms_epsilon`, { f32: config.rmsNormEps }],
    [`${arch}.rope.freq_base`, { f32: config.ropeTheta }],
    [`${arch}.rope.dimension_count`, { u32: config.rotaryDim }],
    [`${arch}.rope.dimension_sections`, { i32s: [11, 11, 10, 0] }],
    [`${arch}.full_attention_interval`, { u32: 4 }],
    [`${arch}.ssm.conv_kernel`, { u32: config.linearConvKernelDim }],
    [`${arch}.ssm.inner_size`, { u32: config.linearNumValueHeads * config.linearValueHeadDim }],
    [`${arch}.ssm.state_size`, { u32: config.linearKeyHeadDim }],
    [`${arch}.ssm.time_step_rank`, { u32: config.linearNumValueHeads }],
    [`${arch}.ssm.group_count`, { u32: config.linearNumKeyHeads }],
    ["tokenizer.ggml.model", { text: "gpt2" }],
    ["tokenizer.ggml.pre", { text: "qwen2" }],
    ["tokenizer.ggml.tokens", { texts: fillerVocabulary(config.vocabSize) }],
    ["tokenizer.ggml.merges", { texts: ["a b"] }],
    ["tokenizer.ggml.eos_token_id", { u32: config.realVocabSize - 1 }],
  ];
}

function u32(value: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeUInt32LE(value);
  return out;
}

function u64(value: number): Buffer {
  const out = Buffer.alloc(8);
  out.writeBigUInt64LE(BigInt(value));
  return out;
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value, "utf8");
  return Buffer.concat([u64(bytes.length), bytes]);
}

function encodeValue(value: Value): Buffer {
  if ("u32" in value) return Buffer.concat([u32(4), u32(value.u32)]);
  if ("text" in value) return Buffer.concat([u32(8), text(value.text)]);
  if ("f32" in value) {
    const out = Buffer.alloc(4);
    out.writeFloatLE(value.f32);
    return Buffer.concat([u32(6), out]);
  }
  if ("texts" in value) return Buffer.concat([u32(9), u32(8), u64(value.texts.length), ...value.texts.map(text)]);
  const items = Buffer.alloc(4 * value.i32s.length);
  value.i32s.forEach((item, index) => items.writeInt32LE(item, 4 * index));
  return Buffer.concat([u32(9), u32(5), u64(value.i32s.length), items]);
}

function header(config: ModelConfig, name: string, tensors: readonly Tensor[]): Buffer {
  const metadata = metadataOf(config, name);
  const parts = [Buffer.from("GGUF"), u32(3), u64(tensors.length), u64(metadata.length)];
  for (const [key, value] of metadata) parts.push(text(key), encodeValue(value));
  let offset = 0;
  for (const tensor of tensors) {
    parts.push(text(tensor.name), u32(tensor.dims.length), ...tensor.dims.map(u64));
    parts.push(u32(tensorTypes[tensor.type].id), u64(offset));
    offset += aligned(tensorBytes(tensor));
  }
  const bytes = Buffer.concat(parts);
  return Buffer.concat([bytes, Buffer.alloc(aligned(bytes.length) - bytes.length)]);
}

/** About 8 MiB of valid blocks of one type, repeated through the file. */
function randomBlocks(type: TensorType): Buffer {
  const { blockBytes } = tensorTypes[type];
  const blocks = Math.floor((8 << 20) / blockBytes);
  const bytes = Buffer.alloc(blocks * blockBytes);
  if (type === "F32") {
    for (let i = 0; i < blocks; ++i) bytes.writeFloatLE(((i * 37) % 101) / 5000 - 0.01, 4 * i);
    return bytes;
  }
  for (let at = 0, counter = 0; at < bytes.length; at += 32, ++counter) {
    createHash("sha256").update(`${type}${counter}`).digest().copy(bytes, at);
  }
  const scaleAt = type === "Q6_K" ? blockBytes - 2 : 0;
  const halfScale = type === "Q6_K" ? 0x0008 : 0x1400; // fp16: about 5e-7 (times an int8 sub-scale) and 1e-3
  for (let block = 0; block < blocks; ++block) bytes.writeUInt16LE(halfScale, block * blockBytes + scaleAt);
  return bytes;
}

async function writeTensor(file: FileHandle, tensor: Tensor, pattern: Buffer): Promise<void> {
  const total = tensorBytes(tensor);
  for (let written = 0; written < total; ) {
    const take = Math.min(pattern.length, total - written);
    await file.write(pattern, 0, take);
    written += take;
  }
  await file.write(Buffer.alloc(aligned(total) - total));
}

/** Weight bytes that one decoded token reads: everything, the tied matrix once. */
export function ggufBytesPerToken(config: ModelConfig, quantisation: GgufQuantisation): number {
  return tensorsOf(config, quantisation).reduce((sum, tensor) => sum + tensorBytes(tensor), 0);
}

/** Writes the file unless one of the right size is there. Written under another name first, so that it is never half there. */
export async function writeRandomGguf(path: string, config: ModelConfig, quantisation: GgufQuantisation): Promise<void> {
  const tensors = tensorsOf(config, quantisation);
  const head = header(config, `random ${quantisation}`, tensors);
  const size = tensors.reduce((sum, tensor) => sum + aligned(tensorBytes(tensor)), head.length);
  const present = await stat(path).catch(() => undefined);
  if (present?.size === size) return;
  const partial = `${path}.${process.pid}.partial`;
  const file = await open(partial, "w");
  try {
    const patterns = new Map<TensorType, Buffer>();
    await file.write(head);
    for (const tensor of tensors) {
      const pattern = patterns.get(tensor.type) ?? randomBlocks(tensor.type);
      patterns.set(tensor.type, pattern);
      await writeTensor(file, tensor, pattern);
    }
  } finally {
    await file.close();
  }
  await rename(partial, path);
}
