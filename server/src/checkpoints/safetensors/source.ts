import { stat } from "node:fs/promises";
import path from "node:path";
import { z } from "zod";
import type { DiskDtype, TensorRef } from "../engine/addon.js";
import { configSchema, readConfig, type CheckpointConfig } from "./config.js";
import { isMissing, ioError, listNames, parseJson, readJsonIfExists, readText } from "../files.js";
import { ModelError } from "../modelError.js";
import { readSafetensors, type SafetensorsFile, type StoredTensor } from "./safetensors.js";

/** A checkpoint directory as it lies on disk: what its config says and where each text tensor is. */
export interface Checkpoint {
  readonly directory: string;
  readonly configFile: string;
  readonly configText: string;
  readonly config: CheckpointConfig;
  /** By canonical name: `model.` for the backbone, `mtp.`, `compressor.`, `confidence_head.`, `lm_head.` at top level. */
  readonly tensors: ReadonlyMap<string, TensorRef>;
  readonly files: readonly SafetensorsFile[];
}

const indexSchema = z.object({ weight_map: z.record(z.string(), z.string()) });

/** Reads `config.json` and all safetensors headers of a directory. Errors name the file. */
export async function readCheckpoint(directory: string): Promise<Checkpoint> {
  await requireDirectory(directory);
  const configFile = path.join(directory, "config.json");
  const configText = await readText(configFile);
  const config = readConfig(parseJson(configFile, configText, configSchema), configFile);
  const files = await readWeightFiles(directory);
  return { directory, configFile, configText, config, tensors: canonicalTensors(files), files };
}

async function requireDirectory(directory: string): Promise<void> {
  const found = await stat(directory).catch((error: unknown) => {
    if (isMissing(error)) throw new ModelError("io", `${directory} does not exist. Give the directory of a model.`);
    throw ioError(directory, error);
  });
  if (!found.isDirectory()) {
    throw new ModelError("io", `${directory} is not a directory. Give the directory that holds config.json.`);
  }
}

async function readWeightFiles(directory: string): Promise<readonly SafetensorsFile[]> {
  const indexFile = path.join(directory, "model.safetensors.index.json");
  const index = await readJsonIfExists(indexFile, indexSchema);
  if (index === undefined) return [await readSafetensors(path.join(directory, "model.safetensors"))];
  const names = [...new Set(Object.values(index.weight_map))].sort();
  const bad = names.find((name) => path.basename(name) !== name);
  if (bad !== undefined) throw new ModelError("badFile", `${indexFile} names the file ${bad} outside its directory.`);
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
        `${tensor.file} holds tensor ${name}, which ${before.file} holds too. Fetch the model again.`,
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
      `${file} stores tensor ${name} as ${dtype}; the engine reads F32, BF16 and F16. Use such a checkpoint.`,
    );
  }
  return { file, offset, bytes, dtype, shape };
}

function isDiskDtype(dtype: string): dtype is DiskDtype {
  return dtype === "F32" || dtype === "BF16" || dtype === "F16";
}
