import path from "node:path";
import { z } from "zod";
import type { DiskDtype, TensorRef } from "../../engine/addon.js";
import { listNames, parseJson, readJsonIfExists, readText, readTextIfExists } from "../../files.js";
import { ModelError } from "../../modelError.js";
import { plainText } from "../../plainText.js";
import { tokenizerSource } from "../../tokenizer/tokenizerJson.js";
import { configSchema, readConfig } from "../config.js";
import type { FieldNames } from "../layout.js";
import type { AboutModel, CheckpointSource } from "../source.js";
import { readSafetensors, type SafetensorsFile, type StoredTensor } from "./header.js";

const indexSchema = z.object({ weight_map: z.record(z.string(), z.string()) });
/** Beyond any model; an index must not make thousands of files be opened at once. */
const maxShards = 512;

/** Reads `config.json` and all safetensors headers of a directory. Errors name the file. */
export async function readSafetensorsSource(directory: string): Promise<CheckpointSource> {
  const configFile = path.join(directory, "config.json");
  const configText = await readText(configFile);
  const config = readConfig(parseJson(configFile, configText, configSchema), configFile);
  const [files, about, tokenizer] = await Promise.all([
    readWeightFiles(directory),
    aboutOf(directory),
    tokenizerSource(directory),
  ]);
  return {
    format: "safetensors",
    place: directory,
    configFile,
    configText,
    config,
    fieldNames,
    tensors: canonicalTensors(files),
    files,
    about,
    tokenizer,
  };
}

const fieldNames: FieldNames = {
  layerTypes: "num_hidden_layers",
  vocabSize: "vocab_size",
  hiddenSize: "hidden_size",
  intermediateSize: "intermediate_size",
  headDim: "head_dim",
  numAttentionHeads: "num_attention_heads",
  numKeyValueHeads: "num_key_value_heads",
  linearKeyHeadDim: "linear_key_head_dim",
  linearValueHeadDim: "linear_value_head_dim",
  linearNumKeyHeads: "linear_num_key_heads",
  linearNumValueHeads: "linear_num_value_heads",
  linearConvKernelDim: "linear_conv_kernel_dim",
};

async function readWeightFiles(directory: string): Promise<readonly SafetensorsFile[]> {
  const indexFile = path.join(directory, "model.safetensors.index.json");
  const index = await readJsonIfExists(indexFile, indexSchema);
  if (index === undefined) return [await readSafetensors(path.join(directory, "model.safetensors"))];
  const names = [...new Set(Object.values(index.weight_map))].sort();
  const bad = names.find((name) => path.basename(name) !== name || ["", ".", ".."].includes(name));
  if (bad !== undefined)
    throw new ModelError("badFile", `${indexFile} names the file ${plainText(bad)} outside its directory.`);
  if (names.length > maxShards)
    throw new ModelError("badFile", `${indexFile} names ${names.length} files; at most ${maxShards} are read.`);
  const files = await Promise.all(names.map((name) => readSafetensors(path.join(directory, name))));
  checkIndex(indexFile, index.weight_map, files);
  return files;
}

function checkIndex(
  indexFile: string,
  weightMap: Readonly<Record<string, string>>,
  files: readonly SafetensorsFile[],
): void {
  const held = new Map(files.map((f) => [path.basename(f.file), new Set(f.tensors.map((t) => t.name))]));
  const missing = Object.entries(weightMap).filter(([name, file]) => !held.get(file)?.has(name));
  if (missing.length === 0) return;
  const names = listNames(missing.map(([name, file]) => `${name} (${file})`));
  throw new ModelError(
    "missingTensor",
    `${indexFile} lists tensors that its files do not hold: ${names}. Fetch those files again.`,
  );
}

function canonicalTensors(files: readonly SafetensorsFile[]): ReadonlyMap<string, TensorRef> {
  const tensors = new Map<string, TensorRef>();
  for (const tensor of files.flatMap((f) => f.tensors)) {
    const name = canonicalName(tensor.name);
    if (name === undefined) continue;
    const before = tensors.get(name);
    if (before) {
      throw new ModelError(
        "badFile",
        `${tensor.file} holds tensor ${plainText(name)}, which ${before.file} holds too. Fetch the model again.`,
      );
    }
    tensors.set(name, toTensorRef(tensor));
  }
  return tensors;
}

/** The engine's name of a stored tensor; undefined for what text generation does not use (vision tower, RoPE tables). */
export function canonicalName(stored: string): string | undefined {
  if (/^(model\.)?visual\./.test(stored) || stored.endsWith("rotary_emb.inv_freq")) return undefined;
  return stored.replace(/^model\.language_model\./, "model.");
}

export function toTensorRef(tensor: StoredTensor): TensorRef {
  const { name, file, offset, bytes, dtype, shape } = tensor;
  if (!isDiskDtype(dtype)) {
    throw new ModelError(
      "unsupported",
      `${file} stores tensor ${plainText(name)} as ${dtype}; F32, BF16 and F16 are read. Use such a checkpoint.`,
    );
  }
  return { file, offset, bytes, dtype, shape };
}

function isDiskDtype(dtype: string): dtype is DiskDtype {
  return dtype === "F32" || dtype === "BF16" || dtype === "F16";
}

const templateSchema = z.union([z.string(), z.array(z.looseObject({ name: z.string(), template: z.string() }))]);
const tokenizerConfigSchema = z.looseObject({ chat_template: templateSchema.nullish() });

const id = z.number().int().min(0);
const generationSchema = z.object({ eos_token_id: z.union([id, z.array(id).max(64)]).nullish() });

async function aboutOf(directory: string): Promise<AboutModel> {
  const [template, tokenizerConfig, generation] = await Promise.all([
    readTextIfExists(path.join(directory, "chat_template.jinja")),
    readJsonIfExists(path.join(directory, "tokenizer_config.json"), tokenizerConfigSchema),
    readJsonIfExists(path.join(directory, "generation_config.json"), generationSchema),
  ]);
  const listed = tokenizerConfig?.chat_template ?? undefined;
  const named = typeof listed === "string" ? listed : listed?.find(({ name }) => name === "default")?.template;
  const eos = generation?.eos_token_id;
  return {
    name: path.basename(path.resolve(directory)),
    license: undefined,
    chatTemplate: template ?? named,
    endIds: eos == null ? [] : [eos].flat(),
  };
}
