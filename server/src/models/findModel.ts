import { access } from "node:fs/promises";
import { homedir } from "node:os";
import path from "node:path";
import { cardFileName } from "../checkpoints/card.js";
import { defaultModelsDirectory } from "../environment.js";
import { ModelError } from "../modelError.js";
import { packageRoot } from "../packageRoot.js";
import { bundledModels } from "./bundled.js";
import { catalogueEntry } from "./catalogue.js";
import { discoverModels, type FoundModel } from "./discovery.js";
import { downloadedFile } from "./folder.js";

/** Where models are looked for. Every place has a default. */
export interface ModelPlaces {
  /** What relative paths are relative to. */
  readonly cwd?: string;
  /** Folder of our package. */
  readonly root?: string;
  /** Folder of downloaded models. */
  readonly folder?: string;
  readonly discover?: () => Promise<readonly FoundModel[]>;
}

/**
 * The checkpoint directory or GGUF file of the wanted model: a name of the catalogue that has been downloaded, the name of
 * a bundled model, a path (absolute, relative to `cwd`, or under `~`), or the name under which a program on this machine
 * keeps a model (`qwen2.5-coder:1.5b`). When nothing is wanted, the bundled model.
 */
export async function findModel(wanted: string | undefined, places: ModelPlaces = {}): Promise<string> {
  const { cwd = process.cwd(), root = packageRoot(), folder = defaultModelsDirectory(), discover = discoverModels } = places;
  const bundled = await bundledModels(root);
  if (!wanted) return firstOf(bundled.map(({ directory }) => directory), root);
  const named = bundled.find((model) => model.name === wanted)?.directory ?? (await downloadedByName(wanted, folder));
  if (named !== undefined) return named;
  const file = path.resolve(cwd, expandHome(wanted));
  if (!mayBeForeignName(wanted) || (await exists(file))) return file;
  return (await discover()).find((model) => model.name === wanted)?.path ?? file;
}

async function downloadedByName(name: string, folder: string): Promise<string | undefined> {
  const entry = catalogueEntry(name);
  if (entry === undefined) return undefined;
  const file = await downloadedFile(entry, folder);
  if (file !== undefined) return file;
  const advice = `Fetch it with "pipo pull ${name}", or in VS Code with "PIPO: Choose a Model…".`;
  throw new ModelError("io", `${entry.title} is not on this machine yet: ${folder} has no ${entry.file}. ${advice}`);
}

function firstOf(directories: readonly string[], root: string): string {
  const first = directories[0];
  if (first !== undefined) return first;
  const place = path.join(root, "models");
  throw new ModelError("io", `No model is bundled: ${place} has no directory with ${cardFileName}. Name a model directory.`);
}

/** `name:tag`, as Ollama has it; `C:\models` is a path. */
function mayBeForeignName(wanted: string): boolean {
  return /^[^\\]{2,}:[^\\/]+$/.test(wanted);
}

function expandHome(wanted: string): string {
  return wanted === "~" || wanted.startsWith("~/") ? path.join(homedir(), wanted.slice(1)) : wanted;
}

async function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}
