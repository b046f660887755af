import { commands, l10n, type Memento, window } from "vscode";
import { modelPath } from "./settings";

const shownKey = "pipo.modelOffered";

/**
 * Once, when the bundled model works: that a better one can be had. Never again afterwards, whatever the answer, and not to
 * somebody who has chosen a model already.
 */
export async function offerBetterModel(memory: Memento): Promise<void> {
  if (memory.get(shownKey, false) || modelPath() !== "") return;
  await memory.update(shownKey, true);
  const choose = l10n.t("Choose a Model…");
  const message = l10n.t("PIPO is ready, with the small model that comes with it. A better one is one click away; nothing is downloaded before you choose it.");
  const answer = await window.showInformationMessage(message, choose, l10n.t("Not Now"));
  if (answer === choose) await commands.executeCommand("pipo.chooseModel");
}
