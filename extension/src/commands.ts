import { commands, type Disposable, l10n, type LogOutputChannel, QuickPickItemKind, type QuickPickItem, window, workspace } from "vscode";
import type { LanguageServer } from "./languageServer";
import type { ModelDownloads } from "./modelDownloads";
import { chooseModel } from "./modelPicker";
import type { Problems } from "./problems";
import { isEnabledFor, isEnabledGlobally, setEnabledForLanguage, setEnabledGlobally } from "./settings";

/** What the commands work on. */
export interface CommandContext {
  readonly extensionId: string;
  readonly log: LogOutputChannel;
  readonly server: LanguageServer;
  readonly downloads: ModelDownloads;
  readonly problems: Problems;
}

type Command = (context: CommandContext) => unknown;

/** Every command of the extension; the manifest gives each its title. */
const table: Readonly<Record<string, Command>> = {
  "pipo.enable": () => setEnabledGlobally(true),
  "pipo.disable": () => setEnabledGlobally(false),
  "pipo.toggle": () => setEnabledGlobally(!isEnabledGlobally()),
  "pipo.toggleLanguage": toggleLanguage,
  "pipo.restartEngine": restartEngine,
  "pipo.chooseModel": chooseModel,
  "pipo.explainLast": explainLast,
  "pipo.showLog": ({ log }) => log.show(),
  "pipo.showStatus": showStatus,
  "pipo.openSettings": ({ extensionId }) => commands.executeCommand("workbench.action.openSettings", `@ext:${extensionId}`),
  "pipo.showExtension": ({ extensionId }) => commands.executeCommand("extension.open", extensionId),
};

export function registerCommands(context: CommandContext): readonly Disposable[] {
  return Object.entries(table).map(([name, run]) => commands.registerCommand(name, () => run(context)));
}

async function toggleLanguage(): Promise<void> {
  const document = window.activeTextEditor?.document;
  if (document !== undefined) await setEnabledForLanguage(document, !isEnabledFor(document));
}

async function restartEngine({ server, problems }: CommandContext): Promise<void> {
  problems.forget();
  await server.restart();
}

/** Opens what happened in the newest request, stage by stage, as a document that can be searched and copied. */
async function explainLast({ server }: CommandContext): Promise<void> {
  const trace = await server.lastTrace();
  if (trace === null) {
    await window.showInformationMessage(l10n.t("PIPO has not been asked for a suggestion yet."));
    return;
  }
  const document = await workspace.openTextDocument({ language: "json", content: JSON.stringify(trace, null, 2) });
  await window.showTextDocument(document, { preview: true });
}

async function showStatus(context: CommandContext): Promise<void> {
  const chosen = await window.showQuickPick(menu(), { title: "PIPO" });
  if (chosen?.command !== undefined) await table[chosen.command]?.(context);
}

interface MenuItem extends QuickPickItem {
  readonly command?: keyof typeof table;
}

function menu(): readonly MenuItem[] {
  const document = window.activeTextEditor?.document;
  const language = document?.languageId;
  const items: MenuItem[] = [
    isEnabledGlobally()
      ? { label: `$(circle-slash) ${l10n.t("Switch off everywhere")}`, command: "pipo.disable" }
      : { label: `$(check) ${l10n.t("Switch on")}`, command: "pipo.enable" },
  ];
  if (document !== undefined && language !== undefined) {
    const label = isEnabledFor(document) ? l10n.t("Switch off for {0}", language) : l10n.t("Switch on for {0}", language);
    items.push({ label: `$(file-code) ${label}`, command: "pipo.toggleLanguage" });
  }
  items.push(
    { label: "", kind: QuickPickItemKind.Separator },
    { label: `$(question) ${l10n.t("Explain the last suggestion")}`, command: "pipo.explainLast" },
    { label: `$(chip) ${l10n.t("Choose a model…")}`, command: "pipo.chooseModel" },
    { label: `$(debug-restart) ${l10n.t("Restart the engine")}`, command: "pipo.restartEngine" },
    { label: `$(output) ${l10n.t("Show the log")}`, command: "pipo.showLog" },
    { label: `$(settings-gear) ${l10n.t("Settings")}`, command: "pipo.openSettings" },
  );
  return items;
}
