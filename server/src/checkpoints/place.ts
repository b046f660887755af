import { readdir, stat } from "node:fs/promises";
import path from "node:path";
import { isMissing, ioError, listNames } from "../files.js";
import { ModelError } from "../modelError.js";
import { isGgufFile } from "./gguf/header.js";
import { readGgufSource } from "./gguf/source.js";
import { leadingFiles } from "./gguf/split.js";
import { readSafetensorsSource } from "./safetensors/source.js";
import type { CheckpointSource } from "./source.js";

/**
 * Opens a checkpoint: a directory with `config.json` and safetensors files, a GGUF file whatever its name, or a
 * directory that holds one GGUF model. Throws ModelError that names the place or file.
 */
export async function openCheckpoint(place: string): Promise<CheckpointSource> {
  const found = await stat(place).catch((error: unknown) => {
    if (isMissing(error))
      throw new ModelError("io", `${place} does not exist. Give the directory of a model, or a GGUF file.`);
    throw ioError(place, error);
  });
  if (found.isDirectory()) return openDirectory(place);
  if (await isGgufFile(place)) return readGgufSource(place);
  throw new ModelError(
    "io",
    `${place} is not a directory and not a GGUF file. Give the directory that holds config.json, or a GGUF file.`,
  );
}

async function openDirectory(directory: string): Promise<CheckpointSource> {
  const file = await ggufFileIn(directory);
  return file === undefined ? readSafetensorsSource(directory) : readGgufSource(file);
}

/** The one GGUF model of a directory without `config.json`; undefined where there is none. */
async function ggufFileIn(directory: string): Promise<string | undefined> {
  const names = await readdir(directory).catch((error: unknown) => {
    throw ioError(directory, error);
  });
  if (names.includes("config.json")) return undefined;
  const files = leadingFiles(names);
  if (files.length > 1)
    throw new ModelError("io", `${directory} holds several GGUF files: ${listNames(files)}. Give one of them.`);
  return files[0] && path.join(directory, files[0]);
}

/** Whether a path can be opened as a checkpoint at all, without reading more than its first bytes. */
export async function isCheckpoint(place: string): Promise<boolean> {
  try {
    if (!(await stat(place)).isDirectory()) return await isGgufFile(place);
    return (await ggufFileIn(place)) !== undefined || (await stat(path.join(place, "config.json"))).isFile();
  } catch {
    return false;
  }
}
