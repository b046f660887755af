// Which model npm start begins with: the one that suits this machine, fetched where it is not here yet, or the bundled one.
import { ask, inRoot, run, say, Trouble } from "./shell.mjs";

/** A check is to end in minutes, also behind a slow line. */
const checkLimitMs = 200_000;

const cli = inRoot("dist/cli.js");

/**
 * @typedef {{ setting: string, title: string, group: string, path: string | null, bytes: number, licence: string, fit: { words: string } }} ListedModel
 * @typedef {{ models: readonly ListedModel[], recommended: string | null, folder: string }} ModelList
 */

/**
 * Needs the bundles and the engine. Never fails: without a way to the model the bundled one is used.
 * @param {{ bundled: boolean, isCheck: boolean }} how
 * @returns {Promise<string>} value of `pipo.model.path`
 */
export async function modelToStartWith({ bundled, isCheck }) {
  if (bundled) return "";
  const model = recommendedModel();
  if (model === undefined) {
    say("no model of the catalogue fits this machine (npx pipo models says why); starting with the bundled one");
    return "";
  }
  if (model.path === null) {
    const { title, bytes, licence } = model;
    say(`${title} suits this machine: fetching it (${Math.round(bytes / 1e6)} MB, ${licence}) into ${modelsFolder()}`);
    say("npm start -- --bundled starts without it, with the small model that comes with the package");
    if (!(await isFetched(model.setting, isCheck))) return "";
  }
  say(`starting with ${model.title}`);
  return recommendedModel()?.path ?? "";
}

/** The folder that all windows of this user share. */
export function modelsFolder() {
  return listModels().folder;
}

/** @returns {ListedModel | undefined} */
function recommendedModel() {
  const { models, recommended } = listModels();
  return models.find(({ group, setting }) => group === "catalogue" && setting === recommended);
}

/** @returns {ModelList} */
function listModels() {
  const text = ask(process.execPath, [cli, "models", "--json"]);
  if (text === undefined) throw new Trouble("npx pipo models does not work; npx pipo models --verbose says why");
  return JSON.parse(text);
}

/** @param {string} name @param {boolean} isCheck */
async function isFetched(name, isCheck) {
  try {
    await run(process.execPath, [cli, "pull", name], isCheck ? { timeoutMs: checkLimitMs } : {});
    return true;
  } catch {
    say(`it could not be fetched, so the bundled model is used; npx pipo pull ${name} goes on with it later`);
    return false;
  }
}
