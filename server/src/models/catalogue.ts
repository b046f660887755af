import { readdir } from "node:fs/promises";
import { homedir } from "node:os";
import path from "node:path";
import { cardFileName, readCardFile } from "../checkpoints/card.js";
import { isMissing, ioError } from "../files.js";
import { ModelError } from "../modelError.js";
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

/**
 * The directory of the wanted model: a path (absolute, relative to `cwd`, or under `~`), the name of a
 * bundled model, or, when nothing is wanted, the bundled model.
 */
export async function findModel(
  wanted: string | undefined,
  cwd = process.cwd(),
  root = packageRoot(),
): Promise<string> {
  const bundled = await bundledModels(root);
  if (!wanted) {
    const first = bundled[0];
    if (first) return first.directory;
    throw new ModelError(
      "io",
      `No model is bundled: ${path.join(root, "models")} has no directory with ${cardFileName}. Name a model directory.`,
    );
  }
  const named = bundled.find((model) => model.name === wanted);
  return named?.directory ?? path.resolve(cwd, expandHome(wanted));
}

function expandHome(wanted: string): string {
  return wanted === "~" || wanted.startsWith("~/") ? path.join(homedir(), wanted.slice(1)) : wanted;
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
