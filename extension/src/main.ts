import { type Disposable, type ExtensionContext, type LogOutputChannel, window, workspace } from "vscode";
import type { CompletionStatistics, CompletionTrace } from "../../server/protocol/messages";
import { settingsSection } from "../../server/protocol/settings";
import { registerCommands } from "./commands";
import { offerBetterModel } from "./firstMessage";
import { InlineCompletionPath } from "./inlineCompletion";
import { LanguageServer, serverPlaces } from "./languageServer";
import { ModelDownloads } from "./modelDownloads";
import { Problems } from "./problems";
import { isEnabledFor, isEnabledGlobally, isOffered } from "./settings";
import { StatusItem } from "./statusItem";

/** Numbers for the tooltip are fetched this long after a suggestion, away from the typing path. */
const numbersDelayMs = 400;

/** Activation is light: the server starts with the first document in which suggestions are wanted. */
export function activate(context: ExtensionContext): void {
  const log = window.createOutputChannel("PIPO", { log: true });
  const extension = new Extension(context, log);
  context.subscriptions.push(log, extension);
}

class Extension implements Disposable {
  private readonly status = new StatusItem();
  private readonly problems = new Problems();
  private readonly inlineCompletion: InlineCompletionPath;
  private readonly server: LanguageServer;
  private readonly downloads: ModelDownloads;
  private readonly subscriptions: readonly Disposable[];

  private trace: CompletionTrace | null = null;
  private statistics: CompletionStatistics | null = null;
  private numbersTimer: NodeJS.Timeout | undefined;
  private isLoading = false;
  private loggedTrace: string | undefined;

  constructor(
    private readonly context: ExtensionContext,
    private readonly log: LogOutputChannel,
  ) {
    this.inlineCompletion = new InlineCompletionPath(log, () => this.onSuggestion());
    this.server = new LanguageServer(serverPlaces(context.extensionUri, context.globalStorageUri), log, this.inlineCompletion.middleware);
    this.downloads = new ModelDownloads(this.server);
    const reconsider = () => this.startOrStopServer();
    this.subscriptions = [
      this.status,
      this.inlineCompletion,
      this.downloads,
      this.server,
      this.downloads.onDidChange(() => this.showStatus()),
      this.server.onDidChangeCondition(() => this.onConditionChanged()),
      workspace.onDidOpenTextDocument(reconsider),
      window.onDidChangeActiveTextEditor(reconsider),
      workspace.onDidChangeConfiguration((change) => {
        if (change.affectsConfiguration(settingsSection)) reconsider();
      }),
      ...registerCommands({ extensionId: context.extension.id, log, server: this.server, downloads: this.downloads, problems: this.problems }),
    ];
    reconsider();
  }

  dispose(): void {
    clearTimeout(this.numbersTimer);
    for (const subscription of this.subscriptions) subscription.dispose();
  }

  /** Nothing runs while suggestions are wanted nowhere: no process, no memory for a model. */
  private startOrStopServer(): void {
    const isWanted = workspace.textDocuments.some((document) => isOffered(document) && isEnabledFor(document));
    if (isWanted) this.server.startIfNeeded();
    else if (!isEnabledGlobally() && this.downloads.current === undefined && this.server.condition.kind !== "notStarted") void this.server.stop();
    this.showStatus();
  }

  private onConditionChanged(): void {
    const { condition } = this.server;
    const state = condition.kind === "running" ? condition.status?.state : undefined;
    if (state === "loading") this.isLoading = true;
    if (state === "ready" && this.isLoading) {
      this.isLoading = false;
      void this.inlineCompletion.askAgain();
      void offerBetterModel(this.context.globalState);
    }
    void this.problems.report(condition);
    this.showStatus();
  }

  private onSuggestion(): void {
    clearTimeout(this.numbersTimer);
    this.numbersTimer = setTimeout(() => void this.fetchNumbers(), numbersDelayMs);
  }

  private async fetchNumbers(): Promise<void> {
    [this.trace, this.statistics] = await Promise.all([this.server.lastTrace(), this.server.statistics()]);
    this.logNumbers();
    this.showStatus();
  }

  /** One line per suggestion that the model wrote: what a report of slowness needs. */
  private logNumbers(): void {
    const { condition } = this.server;
    const generation = this.trace?.generation;
    if (generation === undefined || this.trace?.id === this.loggedTrace || condition.kind !== "running") return;
    this.loggedTrace = this.trace?.id;
    const numbers = {
      model: condition.status?.model,
      backend: condition.status?.backend,
      keystrokeToGhostMs: rounded(this.inlineCompletion.latency.last ?? 0),
      requestMs: rounded(this.trace?.totalMs ?? 0),
      ttftMs: rounded(generation.ttftMs),
      tpotMs: rounded(generation.tpotMs),
      mode: generation.mode,
      tokens: generation.tokens,
      steps: generation.steps,
      tokensPerStep: rounded(generation.tokensPerStep, 2),
      accepted: generation.accepted,
      gated: generation.gated,
      draftsSkipped: generation.draftsSkipped,
      confidence: generation.confidence === null ? null : rounded(generation.confidence, 2),
      requests: this.statistics?.requests,
      withdrawn: withdrawn(this.statistics),
    };
    this.log.info(`suggestion ${JSON.stringify(numbers)}`);
  }

  private showStatus(): void {
    const document = window.activeTextEditor?.document;
    this.status.show({
      condition: this.server.condition,
      isOffered: document === undefined || isOffered(document),
      isEnabled: document === undefined ? isEnabledGlobally() : isEnabledFor(document),
      latency: this.inlineCompletion.latency,
      download: this.downloads.current,
      trace: this.trace,
      statistics: this.statistics,
    });
  }
}

/** Requests that ended because the user typed on. */
function withdrawn(statistics: CompletionStatistics | null): number | undefined {
  return statistics === null ? undefined : statistics.byReason.cancelled + statistics.byReason.superseded;
}

function rounded(value: number, digits = 1): number {
  return Number(value.toFixed(digits));
}
