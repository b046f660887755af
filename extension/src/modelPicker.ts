import { l10n, type QuickPickItem, window } from "vscode";
import type { ListedModel } from "../../server/protocol/messages";
import type { LanguageServer } from "./languageServer";
import type { ModelDownloads } from "./modelDownloads";
import { type ModelChoice, type ModelItem, modelItems } from "./modelItems";
import { messageText } from "./plainText";
import { modelPath, setModelPath } from "./settings";

/** What choosing a model works on. */
export interface ModelPickerContext {
  readonly server: LanguageServer;
  readonly downloads: ModelDownloads;
}

/** Lets the user choose a model, fetches it where it is not here yet, and sets it. The server loads it by itself. */
export async function chooseModel(context: ModelPickerContext): Promise<void> {
  const choice = await pick(context.server);
  if (choice?.kind === "browse") {
    const place = await browse();
    if (place !== undefined) await use(place, context.server);
  } else if (choice?.kind === "model" && (await isHere(choice.model, context.downloads))) {
    await use(choice.model.setting, context.server);
  }
}

/** A model that was set before it was there is no change of a setting, so it is loaded on request. */
async function use(setting: string, server: LanguageServer): Promise<void> {
  if (setting === modelPath()) await server.restart();
  else await setModelPath(setting);
}

/** The list opens at once; looking at the machine and its folders takes a moment. */
async function pick(server: LanguageServer): Promise<ModelChoice | undefined> {
  const list = window.createQuickPick<ModelItem>();
  list.title = l10n.t("PIPO: Choose a Model");
  list.placeholder = l10n.t("Looking at this machine…");
  list.matchOnDescription = true;
  list.busy = true;
  const chosen = new Promise<ModelChoice | undefined>((resolve) => {
    list.onDidAccept(() => resolve(list.selectedItems[0]?.choice));
    list.onDidHide(() => resolve(undefined));
  });
  list.show();
  try {
    const models = await server.models();
    list.items = modelItems(models ?? { models: [], recommended: null, folder: "" }, modelPath());
    list.placeholder = models === null ? l10n.t("The engine does not answer; a folder or file can be chosen all the same") : l10n.t("Nothing is downloaded before you choose it");
    list.busy = false;
    return await chosen;
  } finally {
    list.dispose();
  }
}

/** There already, or fetched now. One that is too large for the machine is fetched only if the user insists. */
async function isHere(model: ListedModel, downloads: ModelDownloads): Promise<boolean> {
  const isTooLarge = model.fit?.kind === "tooLarge";
  if (isTooLarge && !(await insists(model))) return false;
  return model.path !== null || downloads.download(model, isTooLarge);
}

async function insists({ title, fit, path }: ListedModel): Promise<boolean> {
  const anyway = path === null ? l10n.t("Download Anyway") : l10n.t("Use Anyway");
  const message = `${messageText(title)}: ${messageText(fit?.words ?? "")}.`;
  return (await window.showWarningMessage(message, { modal: true }, anyway)) === anyway;
}

/** Dialogs of Windows and Linux choose either files or folders, so the kind is asked first. */
async function browse(): Promise<string | undefined> {
  const file: QuickPickItem = { label: `$(file-binary) ${l10n.t("GGUF File…")}`, description: l10n.t("one file with everything in it") };
  const folder: QuickPickItem = { label: `$(folder) ${l10n.t("Checkpoint Folder…")}`, description: "config.json, tokenizer.json, *.safetensors" };
  const kind = await window.showQuickPick([file, folder], { title: l10n.t("PIPO: Browse for a Model") });
  if (kind === undefined) return undefined;
  const chosen = await window.showOpenDialog({
    canSelectFiles: kind === file,
    canSelectFolders: kind === folder,
    openLabel: l10n.t("Use This Model"),
    ...(kind === file && { filters: { GGUF: ["gguf"], [l10n.t("All Files")]: ["*"] } }),
  });
  return chosen?.[0]?.fsPath;
}
