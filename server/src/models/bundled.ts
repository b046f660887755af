import { readdir } from "node:fs/promises";
import path from "node:path";
import { readCardFile } from "../checkpoints/card.js";
import { ioError, isMissing } from "../files.js";
import { packageRoot } from "../packageRoot.js";

/** A model that lies beside the package. */
export interface BundledModel {
  readonly directory: string;
  readonly name: string;
  readonly version: string;
}

/** Every `models/<directory>/pipo.json` of the package, by name. */
export async function bundledModels(root: string = packageRoot()): Promise<readonly BundledModel[]> {
  const models: BundledModel[] = [];
  for (const directory of await subdirectories(path.join(root, "models"))) {
    const card = await readCardFile(directory);
    if (card) models.push({ directory, name: card.name, version: card.version ?? "unknown" });
  }
  return models.sort((a, b) => (a.name < b.name ? -1 : 1));
}

async function subdirectories(directory: string): Promise<string[]> {
  try {
    const entries = await readdir(directory, { withFileTypes: true });
    return entries.filter((e) => e.isDirectory() || e.isSymbolicLink()).map((e) => path.join(directory, e.name));
  } catch (error) {
    if (isMissing(error)) return [];
    throw ioError(directory, error);
  }
}
