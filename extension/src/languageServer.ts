import path from "node:path";
import { type CancellationToken, type Disposable, EventEmitter, l10n, LogLevel, type LogOutputChannel, Uri, workspace } from "vscode";
import {
  CloseAction,
  type ConfigurationMiddleware,
  ErrorAction,
  LanguageClient,
  type LanguageClientOptions,
  RevealOutputChannelOn,
  type ServerOptions,
  State,
  TransportKind,
} from "vscode-languageclient/node";
import {
  type CompletionStatistics,
  type CompletionTrace,
  type ModelList,
  type PullModelParams,
  type PullModelResult,
  type PullProgress,
  type ServerStatus,
  lastTraceRequest,
  logDetailsNotification,
  modelsRequest,
  pullModelRequest,
  pullProgressNotification,
  restartEngineRequest,
  statisticsRequest,
  statusNotification,
} from "../../server/protocol/messages";
import { offeredSchemes, type ServerInitializationOptions, settingsSection } from "../../server/protocol/settings";
import type { InlineCompletionMiddleware } from "./inlineCompletion";
import { RestartPolicy } from "./restartPolicy";
import { excludePatterns } from "./settings";

/** Where the server program and its packed weights live. The server finds the bundled model itself. */
export interface ServerPlaces {
  readonly serverModule: string;
  readonly cache: string;
}

/** A server that works answers sooner, also while it computes: its own requests never wait for the model. */
const answerLimitMs = 10_000;

export type ServerCondition =
  | { readonly kind: "notStarted" }
  | { readonly kind: "starting" }
  | { readonly kind: "running"; readonly status: ServerStatus | null }
  | { readonly kind: "waitingToRestart"; readonly afterMs: number }
  | { readonly kind: "gaveUp"; readonly stops: number };

/**
 * One language server at a time, in its own process: started when first needed, started again with
 * growing pauses when it stops by itself, and left alone after too many stops in a row.
 */
export class LanguageServer implements Disposable {
  private readonly conditionEmitter = new EventEmitter<ServerCondition>();
  readonly onDidChangeCondition = this.conditionEmitter.event;
  private readonly pullProgressEmitter = new EventEmitter<PullProgress>();
  readonly onDidPullProgress = this.pullProgressEmitter.event;

  private readonly policy = new RestartPolicy();
  private readonly logLevelListener: Disposable;
  private client: LanguageClient | undefined;
  private restartTimer: NodeJS.Timeout | undefined;
  private currentCondition: ServerCondition = { kind: "notStarted" };

  constructor(
    private readonly places: ServerPlaces,
    private readonly log: LogOutputChannel,
    private readonly inlineCompletion: InlineCompletionMiddleware,
  ) {
    this.logLevelListener = log.onDidChangeLogLevel(() => this.tellLogLevel());
  }

  get condition(): ServerCondition {
    return this.currentCondition;
  }

  /** Starts the server unless it runs, is about to, or has been given up. */
  startIfNeeded(): void {
    if (this.currentCondition.kind === "notStarted") void this.start();
  }

  /** Loads the model again; starts the server again where it does not run. */
  async restart(): Promise<void> {
    this.policy.reset();
    if (this.currentCondition.kind === "running" && this.client !== undefined) {
      try {
        await within(answerLimitMs, this.client.sendRequest(restartEngineRequest.method));
        return;
      } catch (error) {
        this.log.warn(`the server did not restart the engine, so the server is started again: ${String(error)}`);
      }
    }
    await this.stop();
    await this.start();
  }

  async stop(): Promise<void> {
    clearTimeout(this.restartTimer);
    const client = this.client;
    this.client = undefined;
    this.become({ kind: "notStarted" });
    await client?.dispose().catch((error: unknown) => this.log.debug(`while stopping: ${String(error)}`));
  }

  /** Null where the server does not run or has nothing yet. */
  lastTrace(): Promise<CompletionTrace | null> {
    return this.request<CompletionTrace>(lastTraceRequest.method);
  }

  statistics(): Promise<CompletionStatistics | null> {
    return this.request<CompletionStatistics>(statisticsRequest.method);
  }

  /** Every model that can be chosen; null where the server cannot be started. */
  async models(): Promise<ModelList | null> {
    await this.untilRunning();
    return this.request<ModelList>(modelsRequest.method);
  }

  /** Fetches a model of the catalogue; {@link onDidPullProgress} says how far it is. Never rejects. */
  async pullModel(params: PullModelParams, token: CancellationToken): Promise<PullModelResult> {
    await this.untilRunning();
    try {
      if (this.client === undefined) throw new Error("there is no server");
      return await this.client.sendRequest<PullModelResult>(pullModelRequest.method, params, token);
    } catch (error) {
      if (token.isCancellationRequested) return { kind: "cancelled" };
      this.log.warn(`the download ended with the server: ${String(error)}`);
      return { kind: "failed", message: l10n.t("The engine stopped during the download. What has arrived is kept.") };
    }
  }

  dispose(): void {
    void this.stop();
    this.logLevelListener.dispose();
    this.pullProgressEmitter.dispose();
    this.conditionEmitter.dispose();
  }

  /** Starts the server if it does not run; waits until it does, or has been given up. */
  private async untilRunning(): Promise<void> {
    this.startIfNeeded();
    while (this.currentCondition.kind === "starting" || this.currentCondition.kind === "waitingToRestart") {
      await new Promise<void>((resolve) => {
        const listener = this.onDidChangeCondition(() => {
          listener.dispose();
          resolve();
        });
      });
    }
  }

  private async start(): Promise<void> {
    this.become({ kind: "starting" });
    this.policy.started(Date.now());
    const client = this.createClient();
    this.client = client;
    client.onNotification(statusNotification.method, (status: ServerStatus) => {
      if (this.client === client) this.become({ kind: "running", status });
    });
    client.onNotification(pullProgressNotification.method, (progress: PullProgress) => this.pullProgressEmitter.fire(progress));
    client.onDidChangeState(({ newState }) => {
      if (newState === State.Stopped || newState === State.StartFailed) this.onStopped(client);
    });
    try {
      await client.start();
      this.tellLogLevel();
      if (this.client === client && this.currentCondition.kind === "starting") this.become({ kind: "running", status: null });
    } catch (error) {
      this.log.error(`the language server did not start: ${String(error)}`);
      this.onStopped(client);
    }
  }

  /** Called for every end of a client; those that were asked for are no longer the current one. */
  private onStopped(client: LanguageClient): void {
    if (this.client !== client) return;
    this.client = undefined;
    void client.dispose().catch(() => undefined);
    const decision = this.policy.stopped(Date.now());
    if (decision.kind === "restart") {
      this.log.warn(`the language server stopped by itself; it starts again in ${decision.afterMs} ms`);
      this.restartTimer = setTimeout(() => void this.start(), decision.afterMs);
      this.become({ kind: "waitingToRestart", afterMs: decision.afterMs });
    } else {
      this.log.error(`the language server stopped ${decision.stops} times in a row and is not started again`);
      this.become({ kind: "gaveUp", stops: decision.stops });
    }
  }

  private createClient(): LanguageClient {
    const run = { module: this.places.serverModule, transport: TransportKind.ipc };
    const serverOptions: ServerOptions = { run, debug: { ...run, options: { execArgv: ["--nolazy", "--inspect=6009"] } } };
    const initializationOptions: ServerInitializationOptions = { cacheDir: this.places.cache, status: true };
    const clientOptions: LanguageClientOptions = {
      documentSelector: offeredSchemes.map((scheme) => ({ scheme })),
      initializationOptions,
      outputChannel: this.log,
      revealOutputChannelOn: RevealOutputChannelOn.Never,
      initializationFailedHandler: () => false,
      // Restarting is decided in onStopped; the library's own way would show messages of its own.
      errorHandler: {
        error: () => ({ action: ErrorAction.Continue, handled: true }),
        closed: () => ({ action: CloseAction.DoNotRestart, handled: true }),
      },
      middleware: { ...this.inlineCompletion, workspace: { configuration: answerPerLanguage } },
    };
    return new LanguageClient("pipo", l10n.t("PIPO language server"), serverOptions, clientOptions);
  }

  private async request<Result>(method: string): Promise<Result | null> {
    if (this.client === undefined || this.currentCondition.kind !== "running") return null;
    return within(answerLimitMs, this.client.sendRequest<Result | null>(method)).catch((error: unknown) => {
      this.log.debug(`${method}: ${String(error)}`);
      return null;
    });
  }

  /** Details of every request are sent while somebody can see them. */
  private tellLogLevel(): void {
    const { logLevel } = this.log;
    const on = logLevel === LogLevel.Trace || logLevel === LogLevel.Debug;
    void this.client?.sendNotification(logDetailsNotification.method, { on }).catch(() => undefined);
  }

  private become(condition: ServerCondition): void {
    this.currentCondition = condition;
    this.conditionEmitter.fire(condition);
  }
}

export function serverPlaces(extensionUri: Uri, storageUri: Uri): ServerPlaces {
  return {
    serverModule: path.join(extensionUri.fsPath, "dist", "server.js"),
    cache: path.join(storageUri.fsPath, "packed"),
  };
}

/** Rejects when there is no answer in time: a server that hangs must not take those along who wait for it. */
async function within<T>(ms: number, answer: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** The library asks by resource alone and would miss `"[python]": {…}` and what a folder adds to a list: both are added here. */
const answerPerLanguage: NonNullable<ConfigurationMiddleware["configuration"]> = (params, token, next) => {
  const answers = next(params, token);
  if (!Array.isArray(answers)) return answers;
  return answers.map((answer: unknown, index) => {
    const item = params.items[index];
    if (item?.section !== settingsSection || item.scopeUri === undefined) return answer;
    const uri = Uri.parse(item.scopeUri);
    const scope = workspace.textDocuments.find((open) => open.uri.toString() === uri.toString()) ?? uri;
    const settings = JSON.parse(JSON.stringify(workspace.getConfiguration(undefined, scope).get(settingsSection)));
    return { ...settings, completion: { ...settings?.completion, exclude: excludePatterns(scope) } };
  });
};
