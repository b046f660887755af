import { commands, l10n, window } from "vscode";
import type { StatusAction } from "../../server/protocol/messages";
import type { ServerCondition } from "./languageServer";
import { messageText } from "./plainText";

interface Remedy {
  readonly title: string;
  readonly command: string;
}

/**
 * Shows each problem once, with something to do about it. The same problem is shown again only after
 * the engine was ready in between; nothing is shown for what mends itself.
 */
export class Problems {
  private shown: string | undefined;

  async report(condition: ServerCondition): Promise<void> {
    const problem = problemOf(condition);
    if (problem === undefined) {
      if (condition.kind === "running" && condition.status?.state === "ready") this.shown = undefined;
      return;
    }
    if (problem.message === this.shown) return;
    this.shown = problem.message;
    const chosen = await window.showErrorMessage(problem.message, ...problem.remedies.map((remedy) => remedy.title));
    const remedy = problem.remedies.find(({ title }) => title === chosen);
    if (remedy !== undefined) await commands.executeCommand(remedy.command);
  }

  /** A restart that the user asked for may fail with the same words and is worth telling again. */
  forget(): void {
    this.shown = undefined;
  }
}

function problemOf(condition: ServerCondition): { message: string; remedies: readonly Remedy[] } | undefined {
  if (condition.kind === "gaveUp") {
    const message = l10n.t("The PIPO engine stopped {0} times in a row and was not started again. Your files are untouched.", condition.stops);
    return { message, remedies: [remedyFor("restartEngine"), remedyFor("showLog")] };
  }
  if (condition.kind !== "running" || condition.status?.state !== "error") return undefined;
  const { message, action } = condition.status;
  const first = remedyFor(action ?? "restartEngine");
  const remedies = first.command === "pipo.showLog" ? [first] : [first, remedyFor("showLog")];
  return { message: `PIPO: ${messageText(message ?? l10n.t("The engine has a problem."))}`, remedies };
}

function remedyFor(action: StatusAction): Remedy {
  switch (action) {
    case "selectModel":
      return { title: l10n.t("Choose a Model…"), command: "pipo.chooseModel" };
    case "openSettings":
      return { title: l10n.t("Open Settings"), command: "pipo.openSettings" };
    case "restartEngine":
      return { title: l10n.t("Restart"), command: "pipo.restartEngine" };
    case "reinstall":
      return { title: l10n.t("Show Extension"), command: "pipo.showExtension" };
    case "showLog":
      return { title: l10n.t("Show Log"), command: "pipo.showLog" };
  }
}
