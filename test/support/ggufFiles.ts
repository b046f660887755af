import { writeFileSync } from "node:fs";
import { byteCharacters } from "./tokenizerFiles.js";

/**
 * Writes GGUF files, right ones and wrong ones. The numbers of types and sizes of blocks are written down here anew,
 * independently of the code under test.
 */

/** A value with its type; `raw` is for values that no writer would make. */
export type GgufValue =
  | { readonly u32: number }
  | { readonly i32: number }
  | { readonly u64: number }
  | { readonly f32: number }
  | { readonly bool: boolean }
  | { readonly text: string }
  | { readonly texts: readonly string[] }
  | { readonly i32s: readonly number[] }
  | { readonly f32s: readonly number[] }
  | { readonly raw: { readonly type: number; readonly bytes: Buffer } };

export interface GgufTensorSpec {
  readonly name: string;
  /** Rows first. */
  readonly shape: readonly number[];
  readonly type: GgufType;
  /** Zeros when absent. */
  readonly data?: Buffer;
}

/** Id, values of a block and bytes of a block. */
export const ggufTypes = {
  F32: [0, 1, 4],
  F16: [1, 1, 2],
  Q4_0: [2, 32, 18],
  Q4_1: [3, 32, 20],
  Q5_0: [6, 32, 22],
  Q5_1: [7, 32, 24],
  Q8_0: [8, 32, 34],
  Q2_K: [10, 256, 84],
  Q3_K: [11, 256, 110],
  Q4_K: [12, 256, 144],
  Q5_K: [13, 256, 176],
  Q6_K: [14, 256, 210],
  IQ4_NL: [20, 32, 18],
  BF16: [30, 1, 2],
} as const satisfies Record<string, readonly [id: number, values: number, bytes: number]>;
export type GgufType = keyof typeof ggufTypes;

export interface GgufContent {
  readonly version?: number;
  readonly metadata: ReadonlyMap<string, GgufValue>;
  readonly tensors: readonly GgufTensorSpec[];
  readonly alignment?: number;
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

export function u64(value: number | bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

export function ggufText(value: string): Buffer {
  return Buffer.concat([u64(Buffer.byteLength(value)), Buffer.from(value)]);
}

function typed(value: GgufValue): Buffer {
  if ("u32" in value) return Buffer.concat([u32(4), u32(value.u32)]);
  if ("i32" in value) return Buffer.concat([u32(5), int32s([value.i32])]);
  if ("f32" in value) return Buffer.concat([u32(6), float32s([value.f32])]);
  if ("bool" in value) return Buffer.concat([u32(7), Buffer.of(value.bool ? 1 : 0)]);
  if ("text" in value) return Buffer.concat([u32(8), ggufText(value.text)]);
  if ("u64" in value) return Buffer.concat([u32(10), u64(value.u64)]);
  if ("raw" in value) return Buffer.concat([u32(value.raw.type), value.raw.bytes]);
  const [type, count, bytes] =
    "texts" in value
      ? [8, value.texts.length, Buffer.concat(value.texts.map(ggufText))]
      : "i32s" in value
        ? [5, value.i32s.length, int32s(value.i32s)]
        : [6, value.f32s.length, float32s(value.f32s)];
  return Buffer.concat([u32(9), u32(type), u64(count), bytes]);
}

function int32s(values: readonly number[]): Buffer {
  return Buffer.from(Int32Array.from(values).buffer);
}

export function float32s(values: readonly number[]): Buffer {
  return Buffer.from(Float32Array.from(values).buffer);
}

export function tensorBytes({ shape, type }: GgufTensorSpec): number {
  const [, values, bytes] = ggufTypes[type];
  return (shape.reduce((product, dim) => product * dim, 1) / values) * bytes;
}

/** The bytes of a file. */
export function ggufBytes({ version = 3, metadata, tensors, alignment = 32 }: GgufContent): Buffer {
  const padded = (bytes: Buffer) => Buffer.concat([bytes, Buffer.alloc(-bytes.length & (alignment - 1))]);
  const head = [Buffer.from("GGUF"), u32(version), u64(tensors.length), u64(metadata.size)];
  for (const [key, value] of metadata) head.push(ggufText(key), typed(value));
  const data: Buffer[] = [];
  let offset = 0;
  for (const tensor of tensors) {
    head.push(ggufText(tensor.name), u32(tensor.shape.length), ...[...tensor.shape].reverse().map(u64));
    head.push(u32(ggufTypes[tensor.type][0]), u64(offset));
    const bytes = padded(tensor.data ?? Buffer.alloc(tensorBytes(tensor)));
    data.push(bytes);
    offset += bytes.length;
  }
  return Buffer.concat([padded(Buffer.concat(head)), ...data]);
}

export function writeGguf(file: string, content: GgufContent): string {
  writeFileSync(file, ggufBytes(content));
  return file;
}

/** Control tokens of the tiny vocabulary, behind its bytes and merges. */
export const ggufControlTokens = ["<|endoftext|>", "<|im_end|>", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|fim_pad|>"];
const merges = ["i n", "r e"];
/** 256 bytes, two merges, control tokens, two rows of padding. */
const vocabulary = [...byteCharacters, "in", "re", ...ggufControlTokens, "[PAD264]", "[PAD265]"];
export const ggufVocabSize = vocabulary.length;
export const ggufRealVocabSize = vocabulary.length - 2;

export interface TinyGguf {
  readonly architecture?: "llama" | "qwen2" | "qwen3";
  readonly layers?: number;
  readonly tied?: boolean;
  /** Biases of Q, K and V; by default those of qwen2. */
  readonly bias?: boolean;
  /** Types of the matrices, in turn. */
  readonly types?: readonly GgufType[];
}

const hidden = 256;
const inner = 512;
const heads = 4;
const keyValueHeads = 2;

/** A model of two layers whose rows every type of block divides. */
export function tinyGguf(options: TinyGguf = {}): {
  metadata: Map<string, GgufValue>;
  tensors: GgufTensorSpec[];
} {
  const { architecture = "llama", layers = 2, tied = true } = options;
  const headDim = architecture === "qwen3" ? 32 : hidden / heads;
  const metadata = new Map<string, GgufValue>([
    ["general.architecture", { text: architecture }],
    ["general.name", { text: "A Tiny Model" }],
    ["general.license", { text: "apache-2.0" }],
    [`${architecture}.block_count`, { u32: layers }],
    [`${architecture}.context_length`, { u32: 4096 }],
    [`${architecture}.embedding_length`, { u32: hidden }],
    [`${architecture}.feed_forward_length`, { u32: inner }],
    [`${architecture}.attention.head_count`, { u32: heads }],
    [`${architecture}.attention.head_count_kv`, { u32: keyValueHeads }],
    [`${architecture}.attention.layer_norm_rms_epsilon`, { f32: 1e-5 }],
    [`${architecture}.rope.freq_base`, { f32: 500000 }],
    ...(architecture === "qwen3" ? ([["qwen3.attention.key_length", { u32: headDim }]] as const) : []),
    ["tokenizer.ggml.model", { text: "gpt2" }],
    ["tokenizer.ggml.pre", { text: "qwen2" }],
    ["tokenizer.ggml.tokens", { texts: vocabulary }],
    ["tokenizer.ggml.token_type", { i32s: vocabulary.map((token, id) => tokenTypeOf(token, id)) }],
    ["tokenizer.ggml.merges", { texts: merges }],
    ["tokenizer.ggml.eos_token_id", { u32: vocabulary.indexOf("<|im_end|>") }],
    ["tokenizer.ggml.add_bos_token", { bool: false }],
    ["tokenizer.chat_template", { text: "{{ messages }}" }],
  ]);
  return { metadata, tensors: tinyTensors({ ...options, architecture, layers, tied }, headDim) };
}

function tokenTypeOf(token: string, id: number): number {
  if (token.startsWith("[PAD")) return 5;
  return id >= 258 ? 3 : 1;
}

function tinyTensors(
  { architecture, layers = 2, tied, bias = architecture === "qwen2", types = ["F32"] }: TinyGguf,
  headDim: number,
): GgufTensorSpec[] {
  let made = 0;
  const matrix = (name: string, rows: number, columns: number): GgufTensorSpec => ({
    name: `${name}.weight`,
    shape: [rows, columns],
    type: types[made++ % types.length]!,
  });
  const vector = (name: string, length: number): GgufTensorSpec => ({ name, shape: [length], type: "F32" });
  const layer = (i: number): GgufTensorSpec[] => {
    const at = (name: string) => `blk.${i}.${name}`;
    const [queries, keys] = [heads * headDim, keyValueHeads * headDim];
    return [
      vector(at("attn_norm.weight"), hidden),
      matrix(at("attn_q"), queries, hidden),
      matrix(at("attn_k"), keys, hidden),
      matrix(at("attn_v"), keys, hidden),
      // Rows of 128 fit no block of 256.
      ...(headDim * heads < 256
        ? [{ name: at("attn_output.weight"), shape: [hidden, queries], type: "F32" } as const]
        : [matrix(at("attn_output"), hidden, queries)]),
      ...(bias
        ? [vector(at("attn_q.bias"), queries), vector(at("attn_k.bias"), keys), vector(at("attn_v.bias"), keys)]
        : []),
      ...(architecture === "qwen3"
        ? [vector(at("attn_q_norm.weight"), headDim), vector(at("attn_k_norm.weight"), headDim)]
        : []),
      vector(at("ffn_norm.weight"), hidden),
      matrix(at("ffn_gate"), inner, hidden),
      matrix(at("ffn_up"), inner, hidden),
      matrix(at("ffn_down"), hidden, inner),
    ];
  };
  return [
    matrix("token_embd", ggufVocabSize, hidden),
    vector("output_norm.weight", hidden),
    ...(tied ? [] : [matrix("output", ggufVocabSize, hidden)]),
    ...Array.from({ length: layers }, (_, i) => layer(i)).flat(),
  ];
}
