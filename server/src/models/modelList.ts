import { statSync } from "node:fs";
import type { ListedModel, ModelList } from "../../protocol/messages.js";
import { defaultModelsDirectory } from "../environment.js";
import { packageRoot } from "../packageRoot.js";
import { plainText } from "../plainText.js";
import { type BundledModel, bundledModels } from "./bundled.js";
import { catalogue, type CatalogueEntry } from "./catalogue.js";
import { discoverModels, type FoundModel } from "./discovery.js";
import { expectedSpeed, fitOf, type Machine, recommended } from "./fit.js";
import { downloadedFile } from "./folder.js";

/** Where {@link listModels} looks. Every place has a default. */
export interface ListPlaces {
  readonly root?: string;
  readonly folder?: string;
  readonly entries?: readonly CatalogueEntry[];
  readonly discover?: () => Promise<readonly FoundModel[]>;
}

/** Every model that can be chosen on this machine, with how it would do there. */
export async function listModels(machine: Machine, places: ListPlaces = {}): Promise<ModelList> {
  const { root = packageRoot(), folder = defaultModelsDirectory(), entries = catalogue, discover = discoverModels } = places;
  const shown = entries.filter(({ isHidden }) => !isHidden);
  const fromCatalogue = await Promise.all(shown.map((entry) => listEntry(entry, folder, machine)));
  const found = (await discover()).map((model) => listFound(model, machine));
  const bundled = (await bundledModels(root)).map(listBundled);
  return { models: [...fromCatalogue, ...found, ...bundled], recommended: recommended(entries, machine)?.name ?? null, folder };
}

async function listEntry(entry: CatalogueEntry, folder: string, machine: Machine): Promise<ListedModel> {
  const { name, title, bytes, licence, abilities, parameters } = entry;
  const path = await downloadedFile(entry, folder);
  const expected = expectedSpeed(bytes, machine, parameters);
  return {
    setting: name,
    title,
    group: "catalogue",
    path: path ?? null,
    bytes,
    licence,
    abilities,
    fit: fitOf(bytes, machine, expected),
    expected: expected ?? null,
    program: null,
  };
}

function listFound({ name, path, bytes, program }: FoundModel, machine: Machine): ListedModel {
  const expected = expectedSpeed(bytes, machine);
  return {
    setting: path,
    title: plainText(name, 120),
    group: "found",
    path,
    bytes,
    licence: null,
    abilities: [],
    fit: fitOf(bytes, machine, expected),
    expected: expected ?? null,
    program,
  };
}

/** The first one is what an empty setting means. */
function listBundled({ name, directory }: BundledModel, index: number): ListedModel {
  return {
    setting: index === 0 ? "" : name,
    title: plainText(name, 120),
    group: "bundled",
    path: directory,
    bytes: statSync(`${directory}/model.safetensors`, { throwIfNoEntry: false })?.size ?? null,
    licence: null,
    abilities: ["completion"],
    fit: null,
    expected: null,
    program: null,
  };
}
