import { existsSync, mkdirSync, renameSync, writeFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { readGguf } from "../../../server/src/checkpoints/gguf/header.js";
import { readGgufSource } from "../../../server/src/checkpoints/gguf/source.js";
import { openCheckpoint } from "../../../server/src/checkpoints/place.js";
import { describeModel } from "../../support/described.js";
import {
  float32s,
  ggufControlTokens,
  ggufRealVocabSize,
  ggufTypes,
  ggufVocabSize,
  tinyGguf,
  writeGguf,
  type GgufTensorSpec,
  type GgufType,
  type GgufValue,
  type TinyGguf,
} from "../../support/ggufFiles.js";
import { temporaryDirectory, writeSafetensors } from "../../support/modelFiles.js";

type Tiny = ReturnType<typeof tinyGguf>;

function written(options: TinyGguf = {}, change?: (tiny: Tiny) => void): string {
  const tiny = tinyGguf(options);
  change?.(tiny);
  return writeGguf(path.join(temporaryDirectory(), "tiny.gguf"), tiny);
}

const set = (key: string, value: GgufValue) => (tiny: Tiny) => void tiny.metadata.set(key, value);
const drop = (key: string) => (tiny: Tiny) => void tiny.metadata.delete(key);
const add = (tensor: GgufTensorSpec) => (tiny: Tiny) => void tiny.tensors.push(tensor);
const everyType = Object.keys(ggufTypes) as GgufType[];

describe("a file is a model by itself", () => {
  test("of the Llama family: every type of block, rows of Q and K marked as they are stored", async () => {
    const file = written({ types: everyType });
    const { description, card, format, tokenizer } = await describeModel(file);
    expect(format).toBe("gguf");
    expect(description.config).toMatchObject({
      family: "llama",
      vocabSize: ggufVocabSize,
      realVocabSize: ggufRealVocabSize,
      hiddenSize: 256,
      intermediateSize: 512,
      layerTypes: ["full_attention", "full_attention"],
      numAttentionHeads: 4,
      numKeyValueHeads: 2,
      headDim: 64,
      rmsNormEps: 1e-5,
      rotaryDim: 64,
      ropeTheta: 500000,
      attentionBias: false,
      tieWordEmbeddings: true,
      maxPositions: 4096,
    });
    expect(description.config.pipo).toBeUndefined();
    expect(new Set(description.tensors.map(({ dtype }) => dtype))).toEqual(new Set(everyType));
    const marked = description.tensors.filter(({ interleavedHeads }) => interleavedHeads !== undefined);
    expect(marked.map(({ name, interleavedHeads }) => [name.replace(/^model\.layers\.\d\./, ""), interleavedHeads])).toEqual(
      expect.arrayContaining([
        ["self_attn.q_proj.weight", 4],
        ["self_attn.k_proj.weight", 2],
      ]),
    );
    expect(marked).toHaveLength(4);
    expect(card).toMatchObject({ name: "A Tiny Model", family: "llama", license: "apache-2.0", chatTemplate: "{{ messages }}" });
    expect(card.stopTokenIds.map((id) => ggufControlTokens[id - 258])).toEqual(["<|im_end|>", "<|endoftext|>", "<|fim_pad|>"]);
    expect([...tokenizer!.encode("rein")]).toEqual([257, 256]);
  });

  test("of Qwen2: biases, rows as they are", async () => {
    const { description } = await describeModel(written({ architecture: "qwen2", tied: false }));
    expect(description.config).toMatchObject({ family: "qwen2", attentionBias: true, tieWordEmbeddings: false });
    expect(description.tensors.every(({ interleavedHeads }) => interleavedHeads === undefined)).toBe(true);
  });

  test("of Qwen3: norms of queries and keys, heads of their own size", async () => {
    const { description } = await describeModel(written({ architecture: "qwen3" }));
    expect(description.config).toMatchObject({ family: "qwen3", queryKeyNorm: true, headDim: 32, rotaryDim: 32 });
  });

  test("biases of a Llama are taken from the file, and marked like their weights", async () => {
    const { description } = await describeModel(written({ bias: true }));
    expect(description.config.attentionBias).toBe(true);
    const headsOf = (name: string) => description.tensors.find((t) => t.name === name)?.interleavedHeads;
    expect(headsOf("model.layers.1.self_attn.q_proj.bias")).toBe(4);
    expect(headsOf("model.layers.1.self_attn.k_proj.bias")).toBe(2);
    expect(headsOf("model.layers.1.self_attn.v_proj.bias")).toBeUndefined();
  });

  test("its name is made of what it says of itself, else it is that of the file", async () => {
    const named = written({}, (tiny) => {
      tiny.metadata.set("general.basename", { text: "Tiny-Coder" });
      tiny.metadata.set("general.size_label", { text: "0.1M" });
    });
    expect((await describeModel(named)).card.name).toBe("Tiny-Coder-0.1M");
    expect((await describeModel(written({}, drop("general.name")))).card.name).toBe("tiny");
  });
});

describe("rotary frequencies", () => {
  const llama3Divisors = () => {
    const turns = (i: number) => (8192 * 500000 ** (-i / 32)) / (2 * Math.PI);
    const smooth = (i: number) => (turns(i) - 1) / 3;
    return Array.from({ length: 32 }, (_, i) =>
      turns(i) > 4 ? 1 : turns(i) < 1 ? 8 : 1 / ((1 - smooth(i)) / 8 + smooth(i)),
    );
  };
  const table = (divisors: readonly number[]): GgufTensorSpec => ({
    name: "rope_freqs.weight",
    shape: [divisors.length],
    type: "F32",
    data: float32s(divisors),
  });

  test("a table of Llama 3 becomes its scaling", async () => {
    const { description } = await describeModel(written({}, add(table(llama3Divisors()))));
    expect(description.config.ropeScaling).toMatchObject({
      type: "llama3",
      factor: 8,
      originalMaxPositions: 8192,
      lowFrequencyFactor: 1,
      highFrequencyFactor: 4,
    });
    expect(description.tensors.some(({ name }) => name.includes("rope"))).toBe(false);
  });

  test("a table of ones is no scaling; another one is refused, never dropped", async () => {
    const ones = Array<number>(32).fill(1);
    expect((await describeModel(written({}, add(table(ones))))).description.config.ropeScaling).toBeUndefined();
    await expect(describeModel(written({}, add(table([...ones.slice(1), 3]))))).rejects.toMatchObject({
      code: "unsupported",
      message: expect.stringMatching(/rope_freqs\.weight\) that is not one of Llama 3's/),
    });
    await expect(describeModel(written({}, add(table([1, 2, 3]))))).rejects.toThrow(/rope_freqs\.weight as F32 \[3\]/);
  });

  test("linear and yarn come from the metadata", async () => {
    const linear = written({}, (tiny) => {
      tiny.metadata.set("llama.rope.scaling.type", { text: "linear" });
      tiny.metadata.set("llama.rope.scaling.factor", { f32: 4 });
    });
    expect((await readGgufSource(linear)).config.ropeScaling).toMatchObject({ type: "linear", factor: 4 });
    const untyped = written({}, set("llama.rope.scaling.factor", { f32: 2 }));
    expect((await readGgufSource(untyped)).config.ropeScaling).toMatchObject({ type: "linear", factor: 2 });
    const yarn = written({ architecture: "qwen2" }, (tiny) => {
      tiny.metadata.set("qwen2.rope.scaling.type", { text: "yarn" });
      tiny.metadata.set("qwen2.rope.scaling.factor", { f32: 4 });
      tiny.metadata.set("qwen2.rope.scaling.original_context_length", { u32: 1024 });
    });
    const { ropeScaling } = (await readGgufSource(yarn)).config;
    expect(ropeScaling).toMatchObject({ type: "yarn", factor: 4, originalMaxPositions: 1024, betaFast: 32 });
    expect(ropeScaling!.attentionFactor).toBeCloseTo(0.1 * Math.log(4) + 1, 12);
  });
});

describe("what does not fit is named with file and key", () => {
  const cases: readonly [what: string, options: TinyGguf, change: (tiny: Tiny) => void, code: string, message: RegExp][] = [
    ["another architecture", {}, set("general.architecture", { text: "gemma2" }), "unsupported", /architecture gemma2; this engine runs/],
    ["Qwen3.5", {}, set("general.architecture", { text: "qwen35" }), "unsupported", /Qwen3\.5 model, whose recurrent layers/],
    ["a projector", {}, set("general.type", { text: "mmproj" }), "unsupported", /no whole model \(general\.type mmproj\)/],
    ["no architecture", {}, drop("general.architecture"), "badConfig", /no general\.architecture/],
    ["no layers", {}, drop("llama.block_count"), "badConfig", /lacks llama\.block_count/],
    ["a billion layers", {}, set("llama.block_count", { u32: 1e9 }), "badFile", /llama\.block_count as 1000000000; it must be between 1 and 1024/],
    ["three layers", {}, set("llama.block_count", { u32: 3 }), "badConfig", /llama\.block_count 3, but the tensors hold 2 layers/],
    ["another width", {}, set("llama.embedding_length", { u32: 128 }), "badConfig", /llama\.embedding_length 128, but tensor model\.embed_tokens\.weight has shape \[\d+, 256\]/],
    ["other heads", {}, set("llama.attention.head_count_kv", { u32: 4 }), "badConfig", /llama\.attention\.head_count_kv 4 \(256 in dimension 0\)/],
    ["heads that do not divide", {}, set("llama.attention.head_count_kv", { u32: 3 }), "badConfig", /head_count 4, which is not a multiple/],
    ["heads by layer", {}, set("llama.attention.head_count_kv", { i32s: [2, 2] }), "unsupported", /head_count_kv for each layer/],
    ["a partial rotation", {}, set("llama.rope.dimension_count", { u32: 32 }), "unsupported", /rope\.dimension_count 32/],
    ["values of another size", {}, set("llama.attention.value_length", { u32: 32 }), "unsupported", /value_length 32/],
    ["experts", {}, set("llama.expert_count", { u32: 8 }), "unsupported", /mixture of experts/],
    ["longrope", {}, set("llama.rope.scaling.type", { text: "longrope" }), "unsupported", /rope_type longrope/],
    ["another stretching", {}, set("llama.rope.scaling.alpha", { f32: 2 }), "unsupported", /rope\.scaling\.alpha 2/],
    ["scaled logits", {}, set("llama.logit_scale", { f32: 4 }), "unsupported", /llama\.logit_scale 4/],
    ["another vocabulary", {}, set("llama.vocab_size", { u32: 300 }), "badConfig", /llama\.vocab_size 300/],
    ["a count as text", {}, set("llama.block_count", { text: "2" }), "badFile", /llama\.block_count as string/],
    ["a norm that is not a number", {}, set("llama.attention.layer_norm_rms_epsilon", { f32: NaN }), "badFile", /epsilon as NaN/],
    ["an unknown tensor", {}, add({ name: "blk.0.ffn_gate_inp.weight", shape: [4], type: "F32" }), "unsupported", /blk\.0\.ffn_gate_inp\.weight/],
    ["a bias of the output", {}, add({ name: "blk.0.attn_output.bias", shape: [256], type: "F32" }), "unsupported", /o_proj\.bias/],
    ["a missing tensor", {}, (tiny) => void tiny.tensors.pop(), "missingTensor", /layers\.1\.mlp\.down_proj\.weight/],
    ["a missing bias", { architecture: "qwen2" }, (tiny) => void tiny.tensors.splice(tiny.tensors.findIndex((t) => t.name === "blk.1.attn_k.bias"), 1), "missingTensor", /k_proj\.bias/],
    ["scores shorter than tokens", {}, set("tokenizer.ggml.scores", { f32s: [1, 2] }), "badFile", /scores has 2 entries/],
    ["token types shorter than tokens", {}, set("tokenizer.ggml.token_type", { i32s: [1, 1] }), "badFile", /token_type has 2 entries/],
    ["token types of another type", {}, set("tokenizer.ggml.token_type", { texts: ["1"] }), "badFile", /token_type as array of string/],
    ["an end beyond the vocabulary", {}, set("tokenizer.ggml.eos_token_id", { u32: 100000 }), "badFile", /eos_token_id is 100000/],
    ["a repeated token", {}, set("tokenizer.ggml.tokens", { texts: Array<string>(ggufVocabSize).fill("a") }), "badFile", /token a twice/],
  ];
  test.each(cases)("%s", async (_, options, change, code, message) => {
    const file = written(options, change);
    const failure = await describeModel(file).catch((error: unknown) => error as Error);
    expect(failure).toMatchObject({ code, message: expect.stringMatching(message) });
    expect((failure as Error).message).toContain(file);
  });

  test("a tokenizer of another kind leaves the model good for ids", async () => {
    const described = await describeModel(written({}, set("tokenizer.ggml.model", { text: "llama" })));
    expect(described.tokenizer).toBeUndefined();
    expect(described.tokenizerProblem).toMatchObject({ code: "unsupported", message: expect.stringMatching(/SentencePiece/) });
    expect(described.description.config.realVocabSize).toBe(ggufVocabSize);
  });
});

describe("places", () => {
  test("a directory with one file, a projector beside it", async () => {
    const file = written();
    writeFileSync(path.join(path.dirname(file), "mmproj-tiny.gguf"), "");
    expect((await openCheckpoint(path.dirname(file))).place).toBe(file);
  });

  test("a card beside the file counts for the directory", async () => {
    const file = written();
    writeFileSync(path.join(path.dirname(file), "pipo.json"), JSON.stringify({ name: "mine", fimFormat: "qwen" }));
    expect((await describeModel(path.dirname(file))).card).toMatchObject({ name: "mine", fimFormat: "qwen" });
    expect((await describeModel(file)).card.name).toBe("A Tiny Model");
  });

  test("a file under any name", async () => {
    const file = written();
    const blob = path.join(path.dirname(file), "sha256-0123");
    renameSync(file, blob);
    expect((await describeModel(blob)).format).toBe("gguf");
  });

  test("a directory with two models asks for one", async () => {
    const directory = temporaryDirectory();
    for (const name of ["a.gguf", "b.gguf"]) writeGguf(path.join(directory, name), tinyGguf());
    await expect(openCheckpoint(directory)).rejects.toThrow(/several GGUF files: a\.gguf, b\.gguf\. Give one of them/);
  });
});

describe("a model in parts", () => {
  function parts(change?: (first: Tiny, second: Tiny) => void): string {
    const directory = temporaryDirectory();
    const [first, second] = [tinyGguf(), tinyGguf()];
    const half = Math.floor(first.tensors.length / 2);
    second.metadata.clear();
    second.tensors.splice(0, half);
    first.tensors.splice(half);
    for (const [i, part] of [first, second].entries()) {
      part.metadata.set("split.no", { u32: i });
      part.metadata.set("split.count", { u32: 2 });
    }
    first.metadata.set("split.tensors.count", { i32: first.tensors.length + second.tensors.length });
    change?.(first, second);
    writeGguf(path.join(directory, "tiny-00001-of-00002.gguf"), first);
    writeGguf(path.join(directory, "tiny-00002-of-00002.gguf"), second);
    return directory;
  }

  test("is read as one, from any of them or their directory", async () => {
    const directory = parts();
    const second = path.join(directory, "tiny-00002-of-00002.gguf");
    const { description, card } = await describeModel(directory);
    expect(new Set(description.tensors.map(({ file }) => path.basename(file))).size).toBe(2);
    expect(card.name).toBe("A Tiny Model");
    expect((await describeModel(second)).description).toEqual(description);
  });

  test.each([
    ["a part of another model", (_: Tiny, second: Tiny): void => void second.metadata.set("split.no", { u32: 0 }), /by its name part 2 of 2/],
    ["tensors that are nowhere", (_: Tiny, second: Tiny): void => void second.tensors.pop(), /speaks of \d+ tensors, but its parts hold/],
  ] as const)("%s is noticed", async (_, change, message) => {
    await expect(describeModel(parts(change))).rejects.toMatchObject({ code: "badFile", message: expect.stringMatching(message) });
  });

  test("a missing part is named", async () => {
    const directory = parts();
    renameSync(path.join(directory, "tiny-00002-of-00002.gguf"), path.join(directory, "elsewhere"));
    await expect(describeModel(directory)).rejects.toThrow(/tiny-00002-of-00002\.gguf does not exist/);
  });
});

test("an adapter fits a base that is a GGUF file", async () => {
  const base = written();
  const adapter = path.join(temporaryDirectory(), "adapter");
  mkdirSync(adapter);
  writeFileSync(
    path.join(adapter, "adapter_config.json"),
    JSON.stringify({ peft_type: "LORA", r: 2, lora_alpha: 4, base_model_name_or_path: base }),
  );
  const name = "base_model.model.model.layers.0.mlp.down_proj";
  const header = {
    [`${name}.lora_A.weight`]: { dtype: "F32", shape: [2, 512], data_offsets: [0, 4096] as [number, number] },
    [`${name}.lora_B.weight`]: { dtype: "F32", shape: [256, 2], data_offsets: [4096, 6144] as [number, number] },
  };
  writeSafetensors(path.join(adapter, "adapter_model.safetensors"), header, 6144);
  const { description } = await describeModel(adapter);
  expect(description.tensors.find((t) => t.name === "model.layers.0.mlp.down_proj.weight")?.lora?.scale).toBe(2);
});

/** Real files, where they are at hand: the folder is named by PIPO_TEST_MODELS. */
const models = process.env["PIPO_TEST_MODELS"] ?? "";
describe("real files", () => {
  const real = (name: string) => path.join(models, name);
  const coder = real("qwen2.5-coder-0.5b-instruct-q4_k_m.gguf");
  const smol = real("SmolLM2-135M-Instruct.Q4_1.gguf");

  test.skipIf(!existsSync(coder))("Qwen2.5-Coder 0.5B (skipped unless PIPO_TEST_MODELS has it)", async () => {
    const { description, card, tokenizer } = await describeModel(coder);
    expect(description.config).toMatchObject({
      family: "qwen2",
      vocabSize: 151936,
      realVocabSize: 151665,
      hiddenSize: 896,
      numAttentionHeads: 14,
      numKeyValueHeads: 2,
      headDim: 64,
      attentionBias: true,
      rmsNormEps: 1e-6,
      ropeTheta: 1e6,
      tieWordEmbeddings: false,
      maxPositions: 32768,
    });
    expect(description.tensors).toHaveLength(291);
    expect(card.stopTokenIds).toEqual([151645, 151643, 151662, 151663, 151664]);
    expect(card.name).toBe("Qwen2.5-Coder-0.5B");
    expect(tokenizer!.idOf("<|fim_middle|>")).toBe(151660);
  });

  test.skipIf(!existsSync(smol))("SmolLM2 135M (skipped unless PIPO_TEST_MODELS has it)", async () => {
    const { description, card } = await describeModel(smol);
    expect(description.config).toMatchObject({ family: "llama", numAttentionHeads: 9, numKeyValueHeads: 3, ropeTheta: 1e5 });
    expect(description.tensors.find((t) => t.name.endsWith("0.self_attn.k_proj.weight"))?.interleavedHeads).toBe(3);
    expect(card.license).toBe("apache-2.0");
    expect((await readGguf(smol)).tensors).toHaveLength(272);
  });
});
