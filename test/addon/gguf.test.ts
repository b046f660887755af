import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";
import type { ModelConfig, TensorSource } from "../../server/src/engine/addon.js";
import { describe as describeWith, loadEngine } from "../../server/src/engine/engine.js";
import { describeModel } from "../support/described.js";
import { float32s, tinyGguf, writeGguf, type GgufTensorSpec, type GgufValue } from "../support/ggufFiles.js";
import { golden, temporaryDirectory } from "../support/modelFiles.js";

/**
 * A golden's backbone written as a GGUF file in the way of llama.cpp's converter: its names, rows of Q and K interleaved in
 * the Llama family, Llama 3's scaling as a table. The logits must be those that were recorded from the safetensors files.
 */
const layerNames: Readonly<Record<string, string>> = {
  input_layernorm: "attn_norm",
  "self_attn.q_proj": "attn_q",
  "self_attn.k_proj": "attn_k",
  "self_attn.v_proj": "attn_v",
  "self_attn.o_proj": "attn_output",
  "self_attn.q_norm": "attn_q_norm",
  "self_attn.k_norm": "attn_k_norm",
  post_attention_layernorm: "ffn_norm",
  "mlp.gate_proj": "ffn_gate",
  "mlp.up_proj": "ffn_up",
  "mlp.down_proj": "ffn_down",
};

function ggufName(canonical: string): string | undefined {
  const layer = /^model\.layers\.(\d+)\.(.+)\.(weight|bias)$/.exec(canonical);
  if (layer) return `blk.${layer[1]}.${layerNames[layer[2]!]}.${layer[3]}`;
  const top = { "model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight", "lm_head.weight": "output.weight" };
  return top[canonical as keyof typeof top];
}

function valuesOf({ file, offset, bytes, dtype }: TensorSource): Float32Array {
  const data = readFileSync(file).subarray(offset, offset + bytes);
  if (dtype === "F32") return Float32Array.from({ length: bytes / 4 }, (_, i) => data.readFloatLE(4 * i));
  expect(dtype).toBe("BF16");
  const bits = Uint32Array.from({ length: bytes / 2 }, (_, i) => data.readUInt16LE(2 * i) << 16);
  return new Float32Array(bits.buffer);
}

/** Row `half · d/2 + i` of each head goes to row `2 i + half`. */
function interleaved(values: Float32Array, rows: number, heads: number): Float32Array {
  const [width, headDim] = [values.length / rows, rows / heads];
  const out = new Float32Array(values.length);
  for (let row = 0; row < rows; ++row) {
    const [head, within] = [Math.floor(row / headDim), row % headDim];
    const [half, i] = [Math.floor((2 * within) / headDim), within % (headDim / 2)];
    out.set(values.subarray(row * width, (row + 1) * width), (head * headDim + 2 * i + half) * width);
  }
  return out;
}

function converted(config: ModelConfig, tensors: readonly TensorSource[]): GgufTensorSpec[] {
  return tensors.flatMap((tensor): GgufTensorSpec[] => {
    const name = ggufName(tensor.name);
    if (name === undefined) return [];
    const heads = /attn_q\./.test(name) ? config.numAttentionHeads : /attn_k\./.test(name) ? config.numKeyValueHeads : 0;
    const values = valuesOf(tensor);
    const stored = config.family === "llama" && heads > 0 ? interleaved(values, tensor.shape[0]!, heads) : values;
    return [{ name, shape: tensor.shape, type: "F32", data: float32s([...stored]) }];
  });
}

function metadataOf(config: ModelConfig): Map<string, GgufValue> {
  const arch = config.family;
  return new Map<string, GgufValue>([
    ["general.architecture", { text: arch }],
    [`${arch}.block_count`, { u32: config.layerTypes.length }],
    [`${arch}.context_length`, { u32: config.maxPositions }],
    [`${arch}.embedding_length`, { u32: config.hiddenSize }],
    [`${arch}.feed_forward_length`, { u32: config.intermediateSize }],
    [`${arch}.attention.head_count`, { u32: config.numAttentionHeads }],
    [`${arch}.attention.head_count_kv`, { u32: config.numKeyValueHeads }],
    [`${arch}.attention.key_length`, { u32: config.headDim }],
    [`${arch}.attention.value_length`, { u32: config.headDim }],
    [`${arch}.attention.layer_norm_rms_epsilon`, { f32: config.rmsNormEps }],
    [`${arch}.rope.freq_base`, { f32: config.ropeTheta }],
  ]);
}

function ropeTable({ ropeScaling, headDim, ropeTheta }: ModelConfig): GgufTensorSpec[] {
  if (ropeScaling?.type !== "llama3") return [];
  const { factor, originalMaxPositions, lowFrequencyFactor: low, highFrequencyFactor: high } = ropeScaling;
  const divisors = Array.from({ length: headDim / 2 }, (_, i) => {
    const wavelength = 2 * Math.PI * ropeTheta ** ((2 * i) / headDim);
    if (wavelength < originalMaxPositions / high) return 1;
    if (wavelength > originalMaxPositions / low) return factor;
    const smooth = (originalMaxPositions / wavelength - low) / (high - low);
    return 1 / ((1 - smooth) / factor + smooth);
  });
  return [{ name: "rope_freqs.weight", shape: [divisors.length], type: "F32", data: float32s(divisors) }];
}

type Scored = readonly [id: number, logit: number][];
interface PlainGolden {
  readonly mode: string;
  readonly ids: number[];
  readonly positions: readonly { readonly top: Scored }[];
}

test.each(["tiny-llama", "tiny-qwen2", "tiny-qwen3"])("%s as a GGUF file gives the logits of its goldens", async (name) => {
  const { config, tensors } = (await describeModel(golden(name))).description;
  const file = path.join(temporaryDirectory(), `${name}.gguf`);
  writeGguf(file, { metadata: metadataOf(config), tensors: [...converted(config, tensors), ...ropeTable(config)] });
  const { native } = await loadEngine(file, { dtype: "f32", threads: 1 });
  try {
    const { inspect } = JSON.parse(readFileSync(path.join(golden(name), "golden.json"), "utf8")) as { inspect: PlainGolden[] };
    for (const { ids, positions } of inspect.filter(({ mode }) => mode === "plain")) {
      const session = native.createSession({ maxPositions: ids.length });
      const inspected = await session.inspect(Int32Array.from(ids), "plain", config.vocabSize);
      session.close();
      // Without a tokenizer the file does not say which rows are padding.
      const found = inspected.map(({ first }) => first.filter(({ id }) => id < config.realVocabSize));
      positions.forEach(({ top }, i) =>
        top.slice(0, 4).forEach(([id, logit], rank) => {
          expect(found[i]![rank]!.id).toBe(id);
          expect(Math.abs(found[i]![rank]!.logit - logit)).toBeLessThan(1e-4 * Math.max(1, Math.abs(logit)));
        }),
      );
    }
  } finally {
    await native.close();
  }
});

test("the tokenizer's table is kept beside the packed weights from the first start on", async () => {
  const file = writeGguf(path.join(temporaryDirectory(), "tiny.gguf"), tinyGguf());
  const packedDirectory = path.join(temporaryDirectory(), "made", "when", "needed");
  const first = await describeWith(file, { packedDirectory });
  expect(readdirSync(packedDirectory)).toEqual([expect.stringMatching(/\.tokens$/)]);
  const second = await describeWith(file, { packedDirectory });
  expect([...second.tokenizer!.encode("rein <")]).toEqual([...first.tokenizer!.encode("rein <")]);
  expect(second.card).toEqual(first.card);
});
