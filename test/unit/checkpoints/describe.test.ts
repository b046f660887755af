import { readFileSync, renameSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import type { ModelDescription, TensorRef } from "../../../server/src/engine/addon.js";
import { readCard, realVocabSize } from "../../../server/src/checkpoints/card.js";
import { configSchema, readConfig } from "../../../server/src/checkpoints/config.js";
import type { FieldNames } from "../../../server/src/checkpoints/layout.js";
import { describeModel } from "../../support/described.js";
import {
  copyOfGolden,
  editHeader,
  editJson,
  golden,
  goldenModels,
  removeTensor,
  temporaryDirectory,
} from "../../support/modelFiles.js";
import { byteCharacters, tokenizerIn, writeTokenizer } from "../../support/tokenizerFiles.js";

const root = (name: string) => golden(name);

describe.each(goldenModels)("$name", ({ name, directory, ...rest }) => {
  const adapter = "adapter" in rest ? rest.adapter : undefined;

  test("tensors lie where the independent table says", async () => {
    const { description } = await describeModel(directory, adapter);
    expect(tensorLines(description, root(name))).toEqual(expectedLines(name, description));
  });

  test("the config is the one recorded", async () => {
    const { config } = (await describeModel(directory, adapter)).description;
    const text = readFileSync(path.join(root(name), "config.txt"), "utf8").trim();
    const recorded = text.split("\n").map((written) => fieldOf(...(written.split(/ (.*)/s) as [string, string])));
    expect(configFields(config).sort()).toEqual(recorded.sort());
  });
});

/** `key value` for each field, nested ones as `outer.key value`. */
function configFields(config: object, outer = ""): string[] {
  return Object.entries(config).flatMap(([key, value]: [string, unknown]) => {
    if (Array.isArray(value)) return fieldOf(outer + key, value.join(" "));
    return typeof value === "object" && value !== null
      ? configFields(value, `${outer}${key}.`)
      : fieldOf(outer + key, String(value));
  });
}

/** Numbers may be written in more than one way. */
function fieldOf(key: string, value: string): string {
  return `${key} ${value.trim() !== "" && Number.isFinite(Number(value)) ? Number(value) : value}`;
}

function line(kind: string, ref: TensorRef, directory: string): string {
  const file = path.relative(directory, ref.file);
  return [kind, file, ref.dtype, ref.offset, ref.bytes, ref.shape.length, ...ref.shape].join(" ");
}

function tensorLines({ tensors }: ModelDescription, directory: string): string[] {
  return tensors
    .flatMap(({ name, lora, ...ref }) => [
      line(`tensor ${name}`, ref, directory),
      ...(lora
        ? [
            line(`lora_a ${name} ${lora.scale}`, lora.a, directory),
            line(`lora_b ${name} ${lora.scale}`, lora.b, directory),
          ]
        : []),
    ])
    .sort();
}

/** The table of the fixture, less what plain decoding does not use. */
function expectedLines(name: string, description: ModelDescription): string[] {
  const used = new Set(description.tensors.map((t) => t.name));
  const lines = readFileSync(path.join(golden(name), "tensors.txt"), "utf8")
    .trim()
    .split("\n");
  return lines.filter((text) => description.config.pipo || used.has(text.split(" ")[1]!)).sort();
}

test("an adapter directory alone finds its base", async () => {
  const alone = await describeModel(golden("tiny-lora/adapter"));
  const both = await describeModel(golden("tiny-lora/base"), golden("tiny-lora/adapter"));
  expect(alone.description.tensors).toEqual(both.description.tensors);
  expect(alone.description.fingerprint).toBe(both.description.fingerprint);
});

test("an adapter whose base is elsewhere says how to give it", async () => {
  const directory = copyOfGolden("tiny-lora");
  editJson(
    path.join(directory, "adapter/adapter_config.json"),
    (c) => (c["base_model_name_or_path"] = "Qwen/Qwen3.5-4B"),
  );
  await expect(describeModel(path.join(directory, "adapter"))).rejects.toThrow(
    /adapter of Qwen\/Qwen3\.5-4B, which is not a directory here/,
  );
});

describe("adapters", () => {
  test("rank-stabilised scale and per-module ranks are honoured", async () => {
    const adapter = path.join(copyOfGolden("tiny-lora"), "adapter");
    editJson(path.join(adapter, "adapter_config.json"), (config) => {
      config["use_rslora"] = true;
      config["alpha_pattern"] = { "layers.3.self_attn.k_proj": 5 };
    });
    const { description } = await describeModel(golden("tiny-lora/base"), adapter);
    const scaleOf = (name: string) => description.tensors.find((t) => t.name === name)?.lora?.scale;
    expect(scaleOf("model.layers.3.self_attn.q_proj.weight")).toBeCloseTo(16 / Math.sqrt(8), 12);
    expect(scaleOf("model.layers.3.self_attn.k_proj.weight")).toBeCloseTo(5 / Math.sqrt(8), 12);
    expect(scaleOf("model.layers.0.linear_attn.in_proj_qkv.weight")).toBeUndefined();
  });

  test("keys with adapter names are the same as without", async () => {
    const adapter = path.join(copyOfGolden("tiny-lora"), "adapter");
    editHeader(path.join(adapter, "adapter_model.safetensors"), (header) => {
      for (const [key, entry] of Object.entries(header)) {
        delete header[key];
        const renamed = key
          .replace(/\.lora_([AB])\.weight$/, ".lora_$1.default.weight")
          .replace("compressor.mlp.0.", "compressor.modules_to_save.default.mlp.0.")
          .replace("base_model.model.model.layers", "base_model.model.model.language_model.layers");
        header[renamed] = entry;
      }
    });
    const names = async (directory: string) =>
      (await describeModel(golden("tiny-lora/base"), directory)).description.tensors.map((t) => [
        t.name,
        t.lora?.scale,
        t.shape,
      ]);
    expect(await names(adapter)).toEqual(await names(golden("tiny-lora/adapter")));
  });

  test.each([
    [
      "a missing half",
      (h: Record<string, unknown>) => delete h[Object.keys(h).find((k) => k.includes("lora_B"))!],
      "missingTensor",
      /lacks lora_B of/,
    ],
    [
      "an unknown kind",
      (h: Record<string, unknown>) => rename(h, "lora_A.weight", "lora_magnitude_vector"),
      "unsupported",
      /unknown kind/,
    ],
    ["another rank", undefined, "badShape", /the rank is 4/],
  ] as const)("%s is named", async (_, edit, code, message) => {
    const adapter = path.join(copyOfGolden("tiny-lora"), "adapter");
    const file = path.join(adapter, "adapter_model.safetensors");
    if (!edit) editJson(path.join(adapter, "adapter_config.json"), (config) => (config["r"] = 4));
    else if (code === "missingTensor") removeTensor(file, firstKey(file, "lora_B"));
    else editHeader(file, (header) => edit(header));
    await expect(describeModel(golden("tiny-lora/base"), adapter)).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message),
    });
  });

  test("DoRA is refused with what to do", async () => {
    const adapter = path.join(copyOfGolden("tiny-lora"), "adapter");
    editJson(path.join(adapter, "adapter_config.json"), (config) => (config["use_dora"] = true));
    await expect(describeModel(golden("tiny-lora/base"), adapter)).rejects.toThrow(/uses DoRA.*Merge the adapter/);
  });

  test("the base of another size is refused", async () => {
    await expect(describeModel(golden("tiny-plain"), golden("tiny-lora/adapter"))).rejects.toMatchObject({
      code: expect.stringMatching(/badShape|missingTensor/),
      message: expect.stringContaining("Give the base it was trained on"),
    });
  });
});

function rename(header: Record<string, unknown>, from: string, to: string): void {
  const key = Object.keys(header).find((name) => name.includes(from))!;
  header[key.replace(from, to)] = header[key];
  delete header[key];
}

function firstKey(file: string, part: string): string {
  const bytes = readFileSync(file);
  const header = JSON.parse(bytes.subarray(8, 8 + Number(bytes.readBigUInt64LE())).toString()) as object;
  return Object.keys(header).find((name) => name.includes(part))!;
}

describe("contradictions and gaps are named with both sides", () => {
  const configCases: readonly [field: string, value: unknown, code: string, message: RegExp][] = [
    ["hidden_size", 128, "badConfig", /hidden_size 128, but tensor model\.embed_tokens\.weight has shape \[320, 64\]/],
    ["vocab_size", 500, "badConfig", /vocab_size 500, but tensor model\.embed_tokens\.weight has shape \[320, 64\]/],
    ["intermediate_size", 32, "badConfig", /intermediate_size 32, .*gate_proj.* \[96, 64\]/],
    ["num_attention_heads", 8, "badConfig", /num_attention_heads 8 \(512 in dimension 0\), .*q_proj/],
    ["head_dim", 64, "badConfig", /head_dim 64, .*q_norm/],
    ["linear_num_value_heads", 8, "badConfig", /linear_num_value_heads 8, .*A_log/],
    ["linear_conv_kernel_dim", 3, "badConfig", /linear_conv_kernel_dim 3, .*conv1d/],
    ["num_key_value_heads", 3, "badConfig", /num_attention_heads 4, which is not a multiple of num_key_value_heads 3/],
    ["layer_types", ["full_attention"], "badConfig", /num_hidden_layers 4, but layer_types has 1/],
    [
      "layer_types",
      Array(4).fill("full_attention"),
      "badConfig",
      /layer 0 is full_attention, but its tensors are those of linear_attention/,
    ],
    ["layer_types", ["a", "b", "c", "d"], "unsupported", /layer 0 of type a/],
    ["compressor_type", "linear", "badConfig", /compressor_type linear, but the tensors are those of a mlp/],
    ["tie_word_embeddings", false, "missingTensor", /lm_head\.weight is in no file/],
    ["pad_token_id", 1000, "badConfig", /pad_token_id 1000, but vocab_size is 320/],
    ["hidden_act", "gelu", "unsupported", /hidden_act gelu/],
    ["rope_parameters", { rope_type: "longrope" }, "unsupported", /rope_type longrope/],
    ["vocab_size", "many", "badFile", /vocab_size: .*number/],
    ["quantization_config", { quant_method: "fp8" }, "unsupported", /fp8 weights/],
  ];
  test.each(configCases)("config.json with %s %j", async (field, value, code, message) => {
    const directory = copyOfGolden("tiny-08b");
    editJson(path.join(directory, "config.json"), (config) => (config[field] = value));
    await expect(describeModel(directory)).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
  });

  test("num_hidden_layers beyond the tensors", async () => {
    const directory = copyOfGolden("tiny-08b");
    editJson(path.join(directory, "config.json"), (config) => {
      delete config["layer_types"];
      config["num_hidden_layers"] = 8;
    });
    await expect(describeModel(directory)).rejects.toThrow(/num_hidden_layers 8, but the tensors hold 4 layers/);
  });

  test.each([
    ["GemmaForCausalLM", "gemma"],
    ["Qwen3_5MoeForCausalLM", "qwen3_5_moe"],
  ])("architecture %s", async (architecture, type) => {
    const directory = copyOfGolden("tiny-08b");
    editJson(path.join(directory, "config.json"), (config) =>
      Object.assign(config, { architectures: [architecture], model_type: type }),
    );
    await expect(describeModel(directory)).rejects.toMatchObject({
      code: "unsupported",
      message: expect.stringContaining(architecture),
    });
  });

  test("one wrong shape is the tensor's fault", async () => {
    const directory = copyOfGolden("tiny-08b");
    editHeader(
      path.join(directory, "model.safetensors"),
      (header) => (header["mtp.layers.0.mlp.up_proj.weight"]!.shape = [64, 96]),
    );
    await expect(describeModel(directory)).rejects.toMatchObject({
      code: "badShape",
      message: expect.stringMatching(
        /mtp\.layers\.0\.mlp\.up_proj\.weight has shape \[64, 96\], but the config implies \[96, 64\]/,
      ),
    });
  });

  test("integer weights are refused", async () => {
    const directory = copyOfGolden("tiny-08b");
    editHeader(path.join(directory, "model.safetensors"), (header) => (header["model.norm.weight"]!.dtype = "I32"));
    await expect(describeModel(directory)).rejects.toMatchObject({
      code: "unsupported",
      message: expect.stringMatching(/model\.norm\.weight as I32/),
    });
  });

  test.each([
    "model.layers.2.mlp.down_proj.weight",
    "confidence_head.fc2.weight",
    "mtp.fc.weight",
    "compressor.mlp.2.bias",
  ])("%s missing", async (name) => {
    const directory = copyOfGolden("tiny-08b");
    removeTensor(path.join(directory, "model.safetensors"), name);
    await expect(describeModel(directory)).rejects.toMatchObject({
      code: "missingTensor",
      message: expect.stringContaining(name),
    });
  });

  test.each(["pre_gate.weight", "pre_gate.bias"])("%s missing beside its other half", async (name) => {
    const directory = copyOfGolden("tiny-pregate");
    removeTensor(path.join(directory, "model.safetensors"), name);
    await expect(describeModel(directory)).rejects.toMatchObject({
      code: "missingTensor",
      message: expect.stringContaining(name),
    });
  });

  test("a pre-gate of another size", async () => {
    const directory = copyOfGolden("tiny-pregate");
    editHeader(path.join(directory, "model.safetensors"), (h) => (h["pre_gate.weight"]!.shape = [2, 32]));
    await expect(describeModel(directory)).rejects.toMatchObject({
      code: "badShape",
      message: expect.stringMatching(/pre_gate\.weight has shape \[2, 32\].*\[1, 64\]/),
    });
  });

  test("a PIPO config over plain tensors names what is missing", async () => {
    const directory = copyOfGolden("tiny-plain");
    editJson(path.join(directory, "config.json"), (config) => (config["architectures"] = ["Qwen3_5ForCausalPIPO"]));
    await expect(describeModel(directory)).rejects.toMatchObject({
      code: "missingTensor",
      message: expect.stringContaining("compressor.mlp.0.weight"),
    });
  });

  test("an unknown tensor is named", async () => {
    const directory = copyOfGolden("tiny-08b");
    editHeader(path.join(directory, "model.safetensors"), (header) =>
      rename(header, "model.norm.weight", "model.norm.bias"),
    );
    await expect(describeModel(directory)).rejects.toThrow(/model\.norm\.weight/);
    editHeader(path.join(directory, "model.safetensors"), (header) => {
      rename(header, "model.norm.bias", "model.norm.weight");
      header["model.layers.0.mlp.up_proj.bias"] = { dtype: "F32", shape: [0], data_offsets: [0, 0] };
    });
    await expect(describeModel(directory)).rejects.toMatchObject({
      code: "unsupported",
      message: expect.stringContaining("up_proj.bias"),
    });
  });

  test("a missing shard is named", async () => {
    const directory = copyOfGolden("tiny-plain");
    rmSync(path.join(directory, "model-00002-of-00002.safetensors"));
    await expect(describeModel(directory)).rejects.toMatchObject({
      code: "io",
      message: expect.stringContaining("model-00002-of-00002.safetensors"),
    });
  });

  test("an index that promises more than its shards hold is named", async () => {
    const directory = copyOfGolden("tiny-plain");
    const index = path.join(directory, "model.safetensors.index.json");
    editJson(
      index,
      (document) =>
        ((document["weight_map"] as Record<string, string>)["extra.weight"] = "model-00001-of-00002.safetensors"),
    );
    await expect(describeModel(directory)).rejects.toMatchObject({
      code: "missingTensor",
      message: expect.stringContaining("extra.weight"),
    });
  });

  test("an index never leads out of its directory", async () => {
    const directory = copyOfGolden("tiny-plain");
    editJson(
      path.join(directory, "model.safetensors.index.json"),
      (document) => (document["weight_map"] = { a: "../other.safetensors" }),
    );
    await expect(describeModel(directory)).rejects.toThrow(/outside its directory/);
  });

  test.each([
    ["no directory", () => path.join(temporaryDirectory(), "none"), /does not exist/],
    ["a file", () => path.join(golden("tiny-08b"), "config.json"), /is not a directory/],
    ["an empty directory", () => temporaryDirectory(), /config\.json does not exist/],
  ])("%s", async (_, place, message) => {
    await expect(describeModel(place())).rejects.toMatchObject({ code: "io", message: expect.stringMatching(message) });
  });

  test("a config that is no JSON", async () => {
    const directory = copyOfGolden("tiny-08b");
    writeFileSync(path.join(directory, "config.json"), '{"vocab_size": 3');
    await expect(describeModel(directory)).rejects.toMatchObject({
      code: "badFile",
      message: expect.stringContaining("config.json is not valid JSON"),
    });
  });
});

describe("layouts of config.json", () => {
  test("nested with top-level rope fields means the same as flat", async () => {
    const directory = copyOfGolden("tiny-08b");
    const before = (await describeModel(directory)).description.config;
    editJson(path.join(directory, "config.json"), (config) => {
      const { architectures, rope_parameters, compressor_type, ...text } = config;
      const { rope_theta, partial_rotary_factor } = rope_parameters as Record<string, number>;
      for (const key of Object.keys(config)) delete config[key];
      Object.assign(config, { architectures, compressor_type, model_type: "qwen3_5", vision_config: { depth: 3 } });
      config["text_config"] = { ...text, rope_theta, partial_rotary_factor };
    });
    expect((await describeModel(directory)).description.config).toEqual(before);
  });

  test("layer types follow from the interval when they are not listed", async () => {
    const directory = copyOfGolden("tiny-08b");
    const before = (await describeModel(directory)).description.config;
    editJson(path.join(directory, "config.json"), (config) => delete config["layer_types"]);
    expect((await describeModel(directory)).description.config.layerTypes).toEqual(before.layerTypes);
  });
});

describe("fingerprint", () => {
  test("does not depend on where the directory lies", async () => {
    const directory = path.join(temporaryDirectory(), "here");
    renameSync(copyOfGolden("tiny-08b"), directory);
    const fingerprint = await fingerprintOf(directory);
    renameSync(directory, `${directory}-or-there`);
    expect(await fingerprintOf(`${directory}-or-there`)).toBe(fingerprint);
  });

  test.each([
    ["a newer weight file", (d: string) => utimesSync(path.join(d, "model.safetensors"), new Date(), new Date())],
    [
      "another config",
      (d: string) => editJson(path.join(d, "config.json"), (config) => (config["rms_norm_eps"] = 1e-5)),
    ],
  ])("changes with %s", async (_, change) => {
    const directory = copyOfGolden("tiny-08b");
    const before = await fingerprintOf(directory);
    change(directory);
    expect(await fingerprintOf(directory)).not.toBe(before);
  });
});

async function fingerprintOf(directory: string): Promise<string> {
  return (await describeModel(directory)).description.fingerprint;
}

describe("card", () => {
  test("pipo.json is what counts", async () => {
    const directory = copyOfGolden("tiny-08b");
    const card = {
      name: "tiny",
      version: "3",
      fimFormat: "spm",
      defaultThreshold: 0.4,
      preGateThreshold: 0.3,
      padTokenId: 7,
      stopTokenIds: [1, 2],
      contextPairs: 99,
      license: "Apache-2.0",
    };
    writeFileSync(path.join(directory, "pipo.json"), JSON.stringify(card));
    const described = await describeModel(directory);
    expect(described.card).toMatchObject(card);
    expect(described.card.family).toBe("qwen3_5");
    expect(described.description.config.pipo?.padTokenId).toBe(7);
  });

  test("other checkpoints get defaults from their own files", async () => {
    const directory = copyOfGolden("tiny-08b");
    writeFileSync(path.join(directory, "generation_config.json"), '{"eos_token_id": [5, 288]}');
    const { card } = await describeModel(directory);
    expect(card).toMatchObject({
      fimFormat: undefined,
      defaultThreshold: 0.95,
      padTokenId: 288,
      stopTokenIds: [5, 288],
      contextPairs: 4096,
    });
  });

  test.each([
    ["pipo.json", { name: "x", stopTokenIds: [2 ** 31] }, "badConfig", /token 2147483648 is to end a text, but the vocabulary has 320/],
    ["generation_config.json", { eos_token_id: 320 }, "badConfig", /token 320 is to end a text/],
    ["pipo.json", { name: "x", contextPairs: 3 }, "badFile", /pipo\.json: contextPairs/],
  ])("%s with %j is refused at load, not at each request", async (file, content, code, message) => {
    const directory = copyOfGolden("tiny-08b");
    writeFileSync(path.join(directory, file), JSON.stringify(content));
    await expect(describeModel(directory)).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
  });

  test("a model for pairs without any PAD says where to add it", async () => {
    const directory = copyOfGolden("tiny-08b");
    editJson(path.join(directory, "config.json"), (config) => delete config["pad_token_id"]);
    await expect(describeModel(directory)).rejects.toThrow(/id of PAD is given by no file.*padTokenId/);
  });
});

describe("Qwen's own vocabulary", () => {
  const source = (fields: object, directory = "dir") => ({
    config: readConfig(configSchema.parse({ model_type: "qwen3_5_text", vocab_size: 248320, ...fields }), "config.json"),
    about: { name: "x", license: undefined, chatTemplate: undefined, endIds: [] },
    place: directory,
    configFile: path.join(directory, "config.json"),
    fieldNames: { vocabSize: "vocab_size" } as FieldNames,
  });

  test("PAD is the id that PIPO was trained with, whatever a repacked checkpoint calls its pad", async () => {
    const directory = temporaryDirectory();
    expect((await readCard(directory, source({ pad_token_id: 248055 }), undefined)).padTokenId).toBe(248044);
    writeFileSync(path.join(directory, "pipo.json"), JSON.stringify({ name: "x", padTokenId: 5 }));
    expect((await readCard(directory, source({}), undefined)).padTokenId).toBe(5);
  });

  test("the pre-gate is off unless the card gives its threshold", async () => {
    const directory = temporaryDirectory();
    expect((await readCard(directory, source({}), undefined)).preGateThreshold).toBe(0);
    writeFileSync(path.join(directory, "pipo.json"), JSON.stringify({ name: "x", preGateThreshold: 0.25 }));
    expect((await readCard(directory, source({}), undefined)).preGateThreshold).toBe(0.25);
  });

  test("rows without a token are known without a tokenizer", () => {
    expect(realVocabSize(source({}), undefined)).toBe(248077);
  });

  test("the end of text of config.json is no stop id, those of the tokenizer are", async () => {
    const directory = temporaryDirectory();
    writeTokenizer(directory);
    const tokenizer = await tokenizerIn(directory);
    const { stopTokenIds } = await readCard(directory, source({ eos_token_id: 248044 }), tokenizer);
    expect(stopTokenIds).toEqual([tokenizer.idOf("<|im_end|>"), tokenizer.idOf("<|endoftext|>")]);
  });

  test("a tokenizer with more ids than rows is that of another model", async () => {
    const directory = copyOfGolden("tiny-08b");
    writeTokenizer(
      directory,
      Array.from({ length: 100 }, (_, i): [string, string] => [byteCharacters[i]!, "x"]),
    );
    await expect(describeModel(directory)).rejects.toMatchObject({
      code: "badConfig",
      message: expect.stringMatching(/ids up to \d+, but config\.json says vocab_size 320/),
    });
  });
});
