import path from "node:path";
import type { ModelConfig, TensorRef } from "../../engine/addon.js";
import { readExactly, withRegularFile } from "../../files.js";
import { plainText } from "../../plainText.js";
import { badConfig, unsupported, type CheckpointConfig } from "../config.js";
import type { Family } from "../families/family.js";
import { llama3FromDivisors } from "../rope.js";
import type { AboutModel, CheckpointSource } from "../source.js";
import { familyOfFile, ggufFieldNames, readGgufConfig } from "./config.js";
import { badGguf } from "./cursor.js";
import { readGguf, type GgufFile, type GgufTensor } from "./header.js";
import type { Metadata } from "./metadata.js";
import { rotatedHeads, tensorNames } from "./names.js";
import { splitParts } from "./split.js";
import { ggufEndIds, ggufTokenizer } from "./tokenizer.js";

/** A table of divisors of the rotary frequencies that converters of llama3 models write. */
const ropeTable = "rope_freqs.weight";

/** Reads a GGUF file, or all parts of a split one when given one of them. Errors name the file. */
export async function readGgufSource(place: string): Promise<CheckpointSource> {
  const parts = await readParts(place);
  const first = parts[0]!;
  const { metadata } = first;
  const family = familyOfFile(metadata);
  const stored = storedTensors(parts);
  const config = await configOf(metadata, family, stored);
  return {
    format: "gguf",
    place: first.file,
    configFile: first.file,
    configText: "",
    config,
    fieldNames: ggufFieldNames(metadata),
    tensors: canonicalTensors(stored, family, config),
    files: parts.map(({ file, size, mtimeNs }) => ({ file, size, mtimeNs })),
    about: aboutOf(metadata),
    tokenizer: ggufTokenizer(first),
  };
}

async function readParts(place: string): Promise<readonly GgufFile[]> {
  const names = splitParts(place);
  const parts = await Promise.all(names.map((name) => readGguf(name)));
  parts.forEach(({ file, metadata }, i) => {
    const count = metadata.integer("split.count", 0, 0xffff) ?? 0;
    if (count > 1 && names.length === 1)
      throw badGguf(file, `is one of ${count} parts of a model, but is not named like one (-00001-of-0000N.gguf)`);
    if (names.length > 1 && (count !== names.length || metadata.integer("split.no", 0, 0xffff) !== i))
      throw badGguf(file, `is by its name part ${i + 1} of ${names.length}, but says something else inside`);
  });
  const wanted = parts[0]!.metadata.integer("split.tensors.count", 0, 2 ** 31 - 1);
  const held = parts.reduce((sum, { tensors }) => sum + tensors.length, 0);
  if (names.length > 1 && wanted !== undefined && wanted !== held)
    throw badGguf(parts[0]!.file, `speaks of ${wanted} tensors, but its parts hold ${held}`);
  return parts;
}

interface StoredTensor extends GgufTensor {
  readonly file: string;
}

function storedTensors(parts: readonly GgufFile[]): ReadonlyMap<string, StoredTensor> {
  const stored = new Map<string, StoredTensor>();
  for (const { file, tensors } of parts) {
    for (const tensor of tensors) {
      const before = stored.get(tensor.name);
      if (before) throw badGguf(file, `holds tensor ${plainText(tensor.name)}, which ${before.file} holds too`);
      stored.set(tensor.name, { ...tensor, file });
    }
  }
  return stored;
}

async function configOf(
  metadata: Metadata,
  family: Family,
  stored: ReadonlyMap<string, StoredTensor>,
): Promise<CheckpointConfig> {
  const embedding = stored.get("token_embd.weight");
  if (!embedding) throw badGguf(metadata.file, "holds no tensor token_embd.weight");
  const plain = readGgufConfig(metadata, family, {
    vocabSize: embedding.shape[0]!,
    hasAttentionBias: stored.has("blk.0.attn_q.bias"),
  });
  const table = stored.get(ropeTable);
  if (!table) return plain;
  const ropeScaling = await scalingOf(table, plain);
  if (!ropeScaling) return plain;
  if (!plain.ropeScaling) return { ...plain, ropeScaling };
  throw unsupported(metadata.file, `asks for ${plain.ropeScaling.type} rope scaling beside the table ${ropeTable}`);
}

/** A table that is not understood must not be dropped: the model would be wrong without a word. */
async function scalingOf(table: StoredTensor, config: CheckpointConfig): Promise<ModelConfig["ropeScaling"]> {
  const { file, offset, bytes, dtype, shape } = table;
  const pairs = config.rotaryDim / 2;
  if (dtype !== "F32" || shape.length !== 1 || shape[0] !== pairs)
    throw badConfig(file, `has ${ropeTable} as ${dtype} [${shape.join(", ")}]; it must be F32 [${pairs}]`);
  const data = await withRegularFile(file, (handle, facts) => readExactly(handle, facts, offset, bytes));
  const divisors = Float32Array.from({ length: pairs }, (_, i) => data.readFloatLE(4 * i));
  const scaling = llama3FromDivisors(divisors, config.ropeTheta);
  if (scaling === undefined)
    throw unsupported(file, `scales its rotary frequencies by a table (${ropeTable}) that is not one of Llama 3's`);
  return scaling === "none" ? undefined : scaling;
}

function canonicalTensors(
  stored: ReadonlyMap<string, StoredTensor>,
  family: Family,
  config: CheckpointConfig,
): ReadonlyMap<string, TensorRef> {
  const names = tensorNames(family);
  const interleaved = "interleavedRows" in family.gguf && family.gguf.interleavedRows;
  const tensors = new Map<string, TensorRef>();
  for (const [storedName, { file, offset, bytes, dtype, shape }] of stored) {
    if (storedName === ropeTable) continue;
    const name = names.canonical(storedName);
    const heads = interleaved ? rotatedHeads(name, config) : undefined;
    tensors.set(name, { file, offset, bytes, dtype, shape, ...(heads && { interleavedHeads: heads }) });
  }
  return tensors;
}

function aboutOf(metadata: Metadata): AboutModel {
  const [base, size] = [metadata.text("general.basename"), metadata.text("general.size_label")];
  const stem = path.basename(metadata.file).replace(/(-\d{5}-of-\d{5})?\.gguf$/i, "");
  const name = base && size ? `${base}-${size}` : (metadata.text("general.name") ?? stem);
  return {
    name: plainText(name || stem),
    license: metadata.text("general.license"),
    chatTemplate: metadata.text("tokenizer.chat_template"),
    endIds: ggufEndIds(metadata),
  };
}
