import { type Disposable, l10n, MarkdownString, StatusBarAlignment, type StatusBarItem, ThemeColor, window } from "vscode";
import { type CompletionStatistics, type CompletionTrace, emptyReasonText } from "../../server/protocol/messages";
import type { ServerCondition } from "./languageServer";
import type { LatencyWindow } from "./latency";
import type { DownloadView } from "./modelDownloads";
import { markdownText, plainText } from "./plainText";

/** Everything that the status bar item shows, as plain data. */
export interface StatusView {
  readonly condition: ServerCondition;
  readonly isOffered: boolean;
  readonly isEnabled: boolean;
  readonly latency: LatencyWindow;
  readonly download: DownloadView | undefined;
  readonly trace: CompletionTrace | null;
  readonly statistics: CompletionStatistics | null;
}

interface Look {
  readonly icon: string;
  readonly label?: string;
  readonly meaning: string;
  readonly colour?: "warning" | "error";
}

/** One item on the right: an icon for the state, the newest latency, and the rest in its tooltip. */
export class StatusItem implements Disposable {
  private readonly item: StatusBarItem;

  constructor() {
    this.item = window.createStatusBarItem("status", StatusBarAlignment.Right, 100);
    this.item.name = l10n.t("PIPO code completion");
    this.item.command = "pipo.showStatus";
    this.item.show();
  }

  show(view: StatusView): void {
    const look = lookOf(view);
    this.item.text = `$(${look.icon}) PIPO${look.label === undefined ? "" : ` ${look.label}`}`;
    this.item.tooltip = tooltipOf(view, look);
    this.item.backgroundColor = look.colour && new ThemeColor(`statusBarItem.${look.colour}Background`);
    this.item.accessibilityInformation = { label: `PIPO: ${plainText(look.meaning)}`, role: "button" };
  }

  dispose(): void {
    this.item.dispose();
  }
}

function lookOf(view: StatusView): Look {
  if (view.download !== undefined) {
    const percent = `${Math.floor(100 * view.download.fraction)} %`;
    return { icon: "cloud-download", label: percent, meaning: l10n.t("Downloading {0}: {1}", view.download.title, percent) };
  }
  if (!view.isOffered) return { icon: "circle-outline", meaning: l10n.t("No suggestions in this kind of document") };
  if (!view.isEnabled) return { icon: "circle-slash", meaning: l10n.t("Switched off") };
  const { condition } = view;
  switch (condition.kind) {
    case "notStarted":
      return { icon: "circle-outline", meaning: l10n.t("Not started yet") };
    case "starting":
      return { icon: "loading~spin", meaning: l10n.t("Starting") };
    case "waitingToRestart":
      return { icon: "sync~spin", meaning: l10n.t("The engine stopped and starts again"), colour: "warning" };
    case "gaveUp":
      return { icon: "error", meaning: l10n.t("The engine stopped {0} times", condition.stops), colour: "error" };
    case "running":
      return lookOfRunning(view, condition);
  }
}

function lookOfRunning(view: StatusView, { status }: Extract<ServerCondition, { kind: "running" }>): Look {
  switch (status?.state) {
    case undefined:
    case "starting":
      return { icon: "circle-filled", meaning: l10n.t("Running; the model is loaded when it is needed") };
    case "loading": {
      const percent = `${Math.round((status.progress ?? 0) * 100)} %`;
      return { icon: "loading~spin", label: percent, meaning: l10n.t("Loading the model: {0}", percent) };
    }
    case "disabled":
      return { icon: "circle-slash", meaning: status.message ?? l10n.t("Switched off for this file") };
    case "error":
      return { icon: "error", meaning: status.message ?? l10n.t("The engine has a problem"), colour: "error" };
    case "ready":
    case "busy": {
      const { last } = view.latency;
      return {
        icon: status.state === "busy" ? "loading~spin" : "zap",
        ...(last === undefined ? {} : { label: milliseconds(last) }),
        meaning: l10n.t("Ready"),
      };
    }
  }
}

function tooltipOf(view: StatusView, look: Look): MarkdownString {
  const text = new MarkdownString(`**PIPO**: ${markdownText(look.meaning)}\n\n`);
  text.isTrusted = { enabledCommands: ["pipo.toggle", "pipo.chooseModel", "pipo.showLog", "pipo.restartEngine", "pipo.openSettings"] };
  const rows = tableRows(view);
  if (0 < rows.length) text.appendMarkdown(`| | |\n|:--|:--|\n${rows.map(([name, value]) => `| ${markdownText(name)} | ${markdownText(value)} |`).join("\n")}\n\n`);
  const links = [
    `[${view.isEnabled ? l10n.t("Switch off") : l10n.t("Switch on")}](command:pipo.toggle)`,
    `[${l10n.t("Choose a model")}](command:pipo.chooseModel)`,
    `[${l10n.t("Log")}](command:pipo.showLog)`,
    `[${l10n.t("Settings")}](command:pipo.openSettings)`,
    `[${l10n.t("Restart engine")}](command:pipo.restartEngine)`,
  ];
  return text.appendMarkdown(links.join(" · "));
}

function tableRows({ condition, latency, trace, statistics }: StatusView): readonly (readonly [string, string])[] {
  if (condition.kind !== "running" || condition.status === null) return [];
  const { state, model, backend, backendNote, reason } = condition.status;
  const rows: [string, string][] = [];
  if (model !== null) rows.push([l10n.t("Model"), model]);
  if (backend !== null) rows.push([l10n.t("Computed by"), backend]);
  if (backendNote !== null) rows.push([l10n.t("Device"), backendNote]);
  const [p50, p95] = [latency.percentile(0.5), latency.percentile(0.95)];
  if (p50 !== undefined && p95 !== undefined) {
    rows.push([l10n.t("Keystroke to suggestion"), l10n.t("{0} median, {1} p95, {2} shown", milliseconds(p50), milliseconds(p95), latency.count)]);
  }
  const generation = trace?.generation;
  if (generation !== undefined) {
    rows.push([l10n.t("Last suggestion"), l10n.t("{0} tokens in {1} steps, {2} second tokens kept, {3} gated", generation.tokens, generation.steps, generation.accepted, generation.gated)]);
  }
  if (statistics !== null && 0 < statistics.steps) {
    rows.push([l10n.t("Tokens per step"), (statistics.tokens / statistics.steps).toFixed(2)]);
    rows.push([l10n.t("Suggestions"), l10n.t("{0} shown, {1} accepted", statistics.suggestions, statistics.accepted)]);
  }
  if (reason !== null && state !== "disabled") rows.push([l10n.t("Last time nothing was shown"), l10n.t(emptyReasonText[reason])]);
  return rows;
}

function milliseconds(ms: number): string {
  return `${Math.round(ms)} ms`;
}
