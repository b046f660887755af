import { describe, expect, test } from "vitest";
import { configSchema, readConfig } from "../../../server/src/checkpoints/config.js";
import { families, familyOfConfig } from "../../../server/src/checkpoints/families/registry.js";
import { ropeScalingOf } from "../../../server/src/checkpoints/rope.js";

const read = (document: object) => readConfig(configSchema.parse(document), "config.json");

/** Contents of the models' own files, less what says nothing about computing. */
const qwen25Coder = {
  architectures: ["Qwen2ForCausalLM"],
  model_type: "qwen2",
  hidden_act: "silu",
  hidden_size: 896,
  intermediate_size: 4864,
  max_position_embeddings: 32768,
  max_window_layers: 24,
  num_attention_heads: 14,
  num_hidden_layers: 24,
  num_key_value_heads: 2,
  rms_norm_eps: 1e-6,
  rope_theta: 1000000.0,
  sliding_window: 32768,
  tie_word_embeddings: true,
  use_sliding_window: false,
  vocab_size: 151936,
};
const qwen3 = {
  architectures: ["Qwen3ForCausalLM"],
  model_type: "qwen3",
  attention_bias: false,
  head_dim: 128,
  hidden_act: "silu",
  hidden_size: 1024,
  intermediate_size: 3072,
  max_position_embeddings: 40960,
  max_window_layers: 28,
  num_attention_heads: 16,
  num_hidden_layers: 28,
  num_key_value_heads: 8,
  rms_norm_eps: 1e-6,
  rope_scaling: null,
  rope_theta: 1000000,
  sliding_window: null,
  tie_word_embeddings: true,
  use_sliding_window: false,
  vocab_size: 151936,
};
const llama32 = {
  architectures: ["LlamaForCausalLM"],
  model_type: "llama",
  attention_bias: false,
  head_dim: 64,
  hidden_act: "silu",
  hidden_size: 2048,
  intermediate_size: 8192,
  max_position_embeddings: 131072,
  mlp_bias: false,
  num_attention_heads: 32,
  num_hidden_layers: 16,
  num_key_value_heads: 8,
  pretraining_tp: 1,
  rms_norm_eps: 1e-5,
  rope_scaling: {
    factor: 32.0,
    high_freq_factor: 4.0,
    low_freq_factor: 1.0,
    original_max_position_embeddings: 8192,
    rope_type: "llama3",
  },
  rope_theta: 500000.0,
  tie_word_embeddings: true,
  vocab_size: 128256,
};
const smolLm2 = {
  architectures: ["LlamaForCausalLM"],
  model_type: "llama",
  attention_bias: false,
  hidden_act: "silu",
  hidden_size: 576,
  intermediate_size: 1536,
  max_position_embeddings: 8192,
  num_attention_heads: 9,
  num_hidden_layers: 30,
  num_key_value_heads: 3,
  pretraining_tp: 1,
  rms_norm_eps: 1e-5,
  rope_interleaved: false,
  rope_scaling: null,
  rope_theta: 100000,
  tie_word_embeddings: true,
  vocab_size: 49152,
};
const mistral = {
  architectures: ["MistralForCausalLM"],
  model_type: "mistral",
  hidden_act: "silu",
  hidden_size: 4096,
  intermediate_size: 14336,
  max_position_embeddings: 32768,
  num_attention_heads: 32,
  num_hidden_layers: 32,
  num_key_value_heads: 8,
  rms_norm_eps: 1e-5,
  rope_theta: 10000.0,
  sliding_window: 4096,
  tie_word_embeddings: false,
  vocab_size: 32000,
};
const deepseekCoder = {
  architectures: ["LlamaForCausalLM"],
  model_type: "llama",
  hidden_act: "silu",
  hidden_size: 2048,
  intermediate_size: 5504,
  max_position_embeddings: 16384,
  num_attention_heads: 16,
  num_hidden_layers: 24,
  num_key_value_heads: 16,
  pretraining_tp: 1,
  rms_norm_eps: 1e-6,
  rope_scaling: { factor: 4.0, type: "linear" },
  rope_theta: 100000,
  tie_word_embeddings: false,
  vocab_size: 32256,
};

describe("the config.json of", () => {
  test("Qwen2.5-Coder: biases on queries, keys and values; a window that is switched off limits nothing", () => {
    const config = read(qwen25Coder);
    expect(config).toMatchObject({
      family: "qwen2",
      headDim: 64,
      rotaryDim: 64,
      ropeTheta: 1e6,
      normWeight: "plain",
      queryKeyNorm: false,
      outputGate: false,
      attentionBias: true,
      maxPositions: 32768,
      tieWordEmbeddings: true,
      declaresPipo: false,
    });
    expect(config.layerTypes).toEqual(Array(24).fill("full_attention"));
    expect(config.ropeScaling).toBeUndefined();
    expect(config.linearNumValueHeads).toBe(0);
  });

  test("Qwen3: norms of queries and keys, heads wider than the hidden size", () => {
    expect(read(qwen3)).toMatchObject({
      family: "qwen3",
      headDim: 128,
      numAttentionHeads: 16,
      numKeyValueHeads: 8,
      queryKeyNorm: true,
      attentionBias: false,
      maxPositions: 40960,
    });
  });

  test("Llama 3.2: frequencies stretched as Llama 3 does", () => {
    expect(read(llama32)).toMatchObject({
      family: "llama",
      headDim: 64,
      rmsNormEps: 1e-5,
      ropeScaling: {
        type: "llama3",
        factor: 32,
        originalMaxPositions: 8192,
        lowFrequencyFactor: 1,
        highFrequencyFactor: 4,
        attentionFactor: 1,
      },
    });
  });

  test("SmolLM2 and DeepSeek-Coder: the same family, one with linear scaling", () => {
    expect(read(smolLm2)).toMatchObject({ family: "llama", headDim: 64, numKeyValueHeads: 3, ropeTheta: 100000 });
    expect(read(smolLm2).ropeScaling).toBeUndefined();
    expect(read(deepseekCoder).ropeScaling).toMatchObject({ type: "linear", factor: 4, attentionFactor: 1 });
  });

  test("Mistral: positions end where its window does, for beyond it something else would be computed", () => {
    expect(read(mistral)).toMatchObject({ family: "llama", maxPositions: 4096, tieWordEmbeddings: false });
    expect(read({ ...mistral, sliding_window: null })).toMatchObject({ maxPositions: 32768 });
  });
});

describe("fields that are left out mean what Hugging Face's class says", () => {
  test.each([
    ["llama", { numKeyValueHeads: 32, intermediateSize: 11008, maxPositions: 2048, ropeTheta: 10000, headDim: 128 }],
    ["mistral", { numKeyValueHeads: 8, intermediateSize: 14336, maxPositions: 4096, vocabSize: 32000 }],
    ["qwen2", { numKeyValueHeads: 32, intermediateSize: 22016, vocabSize: 151936, ropeTheta: 10000 }],
    ["qwen3", { numKeyValueHeads: 32, headDim: 128, maxPositions: 32768 }],
    ["qwen3_5", { numKeyValueHeads: 4, headDim: 256, rotaryDim: 64, ropeTheta: 1e7, normWeight: "zeroCentred" }],
  ] as const)("%s", (model_type, expected) => {
    expect(read({ model_type })).toMatchObject(expected);
  });

  test("no number of key heads is one for each head in Llama", () => {
    expect(read({ ...smolLm2, num_key_value_heads: null })).toMatchObject({ numKeyValueHeads: 9 });
    const { num_key_value_heads: _, ...without } = smolLm2;
    expect(read(without)).toMatchObject({ numKeyValueHeads: 9 });
  });
});

test.each([
  ["Qwen2ForCausalPIPO", "qwen2", "qwen2"],
  ["Qwen3ForCausalPIPO", "qwen3", "qwen3"],
  ["LlamaForCausalPIPO", "llama", "llama"],
  ["MistralForCausalPIPO", "mistral", "llama"],
  ["Qwen3_5ForCausalPIPO", "qwen3_5_text", "qwen3_5"],
  ["LlamaForCausalPIPO", undefined, "llama"],
])("%s is a PIPO model over its family", (architecture, type, family) => {
  const config = read({ architectures: [architecture], ...(type && { model_type: type }) });
  expect(config).toMatchObject({ family, declaresPipo: true });
});

test("type and classes of different families are not guessed between", () => {
  expect(familyOfConfig("llama", ["Qwen2ForCausalLM"])).toBeUndefined();
  expect(familyOfConfig("qwen2", ["Qwen2ForSequenceClassification"])).toBeUndefined();
  expect(familyOfConfig(undefined, ["Qwen2ForCausalLM"])?.family.name).toBe("qwen2");
  expect(new Set(families.map(({ name }) => name)).size).toBe(families.length);
});

describe("windows", () => {
  const windowed = { ...qwen25Coder, use_sliding_window: true, sliding_window: 1024 };
  test("count from the layer on where they begin", () => {
    expect(read({ ...windowed, max_window_layers: 24 }).maxPositions).toBe(32768);
    expect(read({ ...windowed, max_window_layers: 12 }).maxPositions).toBe(1024);
  });
  test("count where a layer is listed as sliding", () => {
    const layer_types = [...Array<string>(23).fill("full_attention"), "sliding_attention"];
    expect(read({ ...windowed, layer_types })).toMatchObject({ maxPositions: 1024 });
    expect(read({ ...windowed, layer_types }).layerTypes).toEqual(Array(24).fill("full_attention"));
    expect(() => read({ ...qwen25Coder, layer_types, sliding_window: null })).toThrow(/sliding_attention, but no sliding_window/);
  });
});

describe("yarn", () => {
  const yarn = (fields: object) =>
    ropeScalingOf({ type: "yarn", factor: 4, originalMaxPositions: 32768, ...fields }, 131072)!;
  test.each([
    [{}, 1.1386294361119891],
    [{ attentionFactor: 0.9 }, 0.9],
    [{ mscale: 1, mscaleAllDim: 0.5 }, 1.1386294361119891 / (0.05 * Math.log(4) + 1)],
    [{ mscale: 0.7 }, 1.1386294361119891],
    [{ factor: 1 }, 1],
  ])("with %j scales attention by %d", (fields, attentionFactor) => {
    expect(yarn(fields).attentionFactor).toBeCloseTo(attentionFactor, 12);
  });
  test("has the usual ramp, and its factor from the lengths where none is given", () => {
    expect(yarn({})).toMatchObject({ betaFast: 32, betaSlow: 1, originalMaxPositions: 32768 });
    expect(yarn({ factor: undefined }).factor).toBe(4);
  });
  test("is read from both names of its fields", () => {
    const fields = { factor: 4, original_max_position_embeddings: 32768, beta_fast: 16 };
    const expected = { type: "yarn", factor: 4, betaFast: 16, originalMaxPositions: 32768 };
    expect(read({ ...qwen25Coder, rope_scaling: { type: "yarn", ...fields } }).ropeScaling).toMatchObject(expected);
    const nested = { rope_type: "yarn", rope_theta: 5e6, ...fields };
    expect(read({ ...qwen25Coder, rope_parameters: nested })).toMatchObject({ ropeScaling: expected, ropeTheta: 5e6 });
  });
});

describe("what is not computed is refused with the field and the value", () => {
  test.each([
    [{ ...llama32, attention_bias: true }, /asks for attention_bias/],
    [{ ...qwen3, attention_bias: true }, /asks for attention_bias/],
    [{ ...llama32, mlp_bias: true }, /asks for mlp_bias/],
    [{ ...llama32, hidden_act: "gelu" }, /hidden_act gelu/],
    [{ ...llama32, rope_scaling: { rope_type: "dynamic", factor: 2 } }, /rope_type dynamic/],
    [{ ...llama32, rope_scaling: { rope_type: "longrope" } }, /rope_type longrope/],
    [{ ...llama32, partial_rotary_factor: 0.5 }, /partial_rotary_factor 0\.5/],
    [{ ...llama32, num_local_experts: 8 }, /mixture of experts/],
    [{ ...llama32, quantization_config: { quant_method: "gptq" } }, /gptq weights/],
    [{ ...qwen25Coder, rope_scaling: { rope_type: "yarn", factor: 4, truncate: false } }, /truncate/],
    [{ ...qwen25Coder, layer_types: Array(24).fill("linear_attention") }, /layer 0 of type linear_attention/],
    [{ model_type: "starcoder2", architectures: ["Starcoder2ForCausalLM"] }, /Starcoder2ForCausalLM, model_type starcoder2/],
    [{ model_type: "qwen2_moe" }, /model_type qwen2_moe; this engine runs Qwen2, Qwen3, Llama and Qwen3\.5 models/],
  ] as const)("%#", (document, message) => {
    expect(() => read(document)).toThrow(
      expect.objectContaining({ code: "unsupported", message: expect.stringMatching(message) as string }),
    );
  });

  test.each([
    [{ ...llama32, rope_scaling: { ...llama32.rope_scaling, factor: 0 } }, /the factor 0/],
    [{ ...llama32, rope_scaling: { rope_type: "llama3", factor: 8 } }, /low_freq_factor undefined/],
    [{ ...smolLm2, head_dim: null, num_attention_heads: 10 }, /hidden_size 576, which is not a multiple of num_attention_heads 10/],
  ] as const)("contradictions too: %#", (document, message) => {
    expect(() => read(document)).toThrow(
      expect.objectContaining({ code: "badConfig", message: expect.stringMatching(message) as string }),
    );
  });
});

test.each([
  ["num_hidden_layers", 1e9],
  ["num_hidden_layers", 5e9],
  ["num_attention_heads", 1e6],
  ["hidden_size", 2 ** 40],
  ["vocab_size", 2 ** 31],
  ["head_dim", 2 ** 20],
  ["max_position_embeddings", 1e15],
  ["layer_types", Array(300_000).fill("full_attention")],
])("%s beyond every model is refused before anything is made of it", (field, value) => {
  expect(configSchema.safeParse({ ...llama32, [field]: value }).success).toBe(false);
});
