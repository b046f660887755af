import {
  type Connection,
  DidChangeConfigurationNotification,
  ErrorCodes,
  type InitializeParams,
  type InitializeResult,
  ResponseError,
  TextDocumentSyncKind,
} from "vscode-languageserver/node";
import {
  lastTraceRequest,
  logDetailsNotification,
  modelsRequest,
  pullModelRequest,
  type PullModelParams,
  pullProgressNotification,
  restartEngineRequest,
  statisticsRequest,
  statusNotification,
  suggestionAcceptedCommand,
} from "../protocol/messages.js";
import { type ServerInitializationOptions, settingsSection } from "../protocol/settings.js";
import type { ResolveLink } from "./completion/excludedFiles.js";
import { CompletionService } from "./completion/service.js";
import { StatusReporter } from "./completion/statusReporter.js";
import { messageOf } from "./files.js";
import { Configuration, type PullSettings } from "./handlers/configuration.js";
import { OpenDocuments } from "./handlers/documents.js";
import { EditorLog } from "./handlers/editorLog.js";
import { parseInitializationOptions } from "./handlers/initializationOptions.js";
import { handleInlineCompletion } from "./handlers/inlineCompletion.js";
import { handleModels, handlePullModel, type ModelsHost } from "./handlers/models.js";
import type { Logger } from "./log.js";
import type { Machine } from "./models/fit.js";
import { ModelManager, type OpenModel } from "./models/modelManager.js";

/** What the program gives the server: who it is, and how a model is opened. */
export interface ServerHost {
  readonly version: string;
  /** Where a document's link leads. */
  readonly resolveLink?: ResolveLink;
  openModel(options: ServerInitializationOptions, log: Logger): OpenModel;
  /** Folder of downloaded models. */
  readonly modelsDirectory: string;
  /** This machine with so many threads (0: the engine's choice), for choosing a model. */
  describeMachine(options: ServerInitializationOptions, threads: number): Promise<Machine>;
}

/** Connects an editor with the completion service. Glue only: what a request means is decided in `completion/`. */
export class PipoServer {
  private readonly models: ModelManager;
  private readonly service: CompletionService;
  private readonly status: StatusReporter;
  private readonly documents: OpenDocuments;
  private readonly choice: ModelsHost;
  /** Exclude patterns are relative to the folders that are open. */
  private readonly folders: Set<string>;
  private prepared: Promise<void> | undefined;
  private ended = false;

  private constructor(
    private readonly connection: Connection,
    private readonly log: EditorLog,
    private readonly params: InitializeParams,
    private readonly configuration: Configuration,
    host: ServerHost,
    options: ServerInitializationOptions,
  ) {
    const publish = wantsStatus(params, options) ? (status: unknown) => this.send(statusNotification.method, status) : () => undefined;
    this.status = new StatusReporter(publish);
    this.models = new ModelManager(host.openModel(options, log), log, (state) => this.status.modelChanged(state));
    this.service = new CompletionService(this.models, this.status, log, {
      ...(host.resolveLink && { resolveLink: host.resolveLink }),
      measureReadBandwidth: async (threads) => (await host.describeMachine(options, threads)).readBandwidth ?? 0,
    });
    this.choice = {
      modelsDirectory: host.modelsDirectory,
      describeMachine: async () => host.describeMachine(options, (await configuration.settingsFor()).engine.threads),
      sendProgress: (progress) => this.send(pullProgressNotification.method, progress),
      log,
    };
    this.folders = new Set((params.workspaceFolders ?? []).map(({ uri }) => uri));
    if (this.folders.size === 0 && params.rootUri) this.folders.add(params.rootUri);
    this.service.setWorkspaceFolders([...this.folders]);
    this.documents = new OpenDocuments(log, (uri) => {
      this.service.forget(uri);
      this.configuration.forget(uri);
    });
  }

  /** Answers `initialize`, once, and from then on everything else. */
  static listen(connection: Connection, host: ServerHost): void {
    let initialized = false;
    connection.onInitialize((params) => {
      if (initialized) throw new ResponseError(ErrorCodes.InvalidRequest, "The server has been initialized already.");
      initialized = true;
      const log = new EditorLog(connection);
      const options = parseInitializationOptions(params.initializationOptions, log);
      const configuration = new Configuration(options.settings, pullFrom(connection, params), log);
      new PipoServer(connection, log, params, configuration, host, options).register();
      return initializeResult(host.version);
    });
    connection.listen();
  }

  private register(): void {
    const { connection, service, configuration, documents } = this;
    documents.listen(connection);
    connection.languages.inlineCompletion.on(async (params, token) => {
      this.refuseAfterEnd();
      // A client may ask before it says `initialized`, or never say it.
      void this.prepare();
      return handleInlineCompletion(
        {
          document: (uri) => documents.get(uri),
          settingsFor: (uri) => configuration.settingsFor(uri),
          complete: (request) => service.complete(request),
        },
        params,
        token,
      );
    });
    connection.onExecuteCommand(({ command, arguments: [id] = [] }) => {
      this.refuseAfterEnd();
      if (command === suggestionAcceptedCommand) service.accepted(String(id));
      return null;
    });
    connection.onRequest(restartEngineRequest.method, () => this.restartEngine());
    connection.onRequest(lastTraceRequest.method, () => (this.refuseAfterEnd(), service.lastTrace));
    connection.onRequest(statisticsRequest.method, () => (this.refuseAfterEnd(), service.statisticsSnapshot()));
    connection.onRequest(modelsRequest.method, () => (this.refuseAfterEnd(), handleModels(this.choice)));
    connection.onRequest(pullModelRequest.method, (params: PullModelParams, token) => {
      this.refuseAfterEnd();
      return handlePullModel(this.choice, params, token);
    });
    connection.onNotification(logDetailsNotification.method, ({ on }: { readonly on?: unknown }) => {
      this.log.showsDetails = on === true;
    });
    connection.onDidChangeConfiguration(({ settings }) => this.settingsChanged(settings));
    connection.onInitialized(() => this.initialized());
    connection.onShutdown(() => this.shutdown());
  }

  private async initialized(): Promise<void> {
    const { workspace } = this.params.capabilities;
    if (workspace?.didChangeConfiguration?.dynamicRegistration) {
      // Nothing waits for the answer: a client that never gives one has its suggestions all the same.
      this.connection.client.register(DidChangeConfigurationNotification.type, undefined).catch((error: unknown) => {
        this.log.warn(`The editor does not tell when settings change: ${messageOf(error)}`);
      });
    }
    this.followFolders();
    this.status.update(/*force=*/ true);
    await this.prepare();
  }

  private followFolders(): void {
    if (this.params.capabilities.workspace?.workspaceFolders !== true) return;
    this.connection.workspace.onDidChangeWorkspaceFolders(({ added, removed }) => {
      for (const { uri } of removed) this.folders.delete(uri);
      for (const { uri } of added) this.folders.add(uri);
      this.service.setWorkspaceFolders([...this.folders]);
    });
  }

  private prepare(): Promise<void> {
    this.prepared ??= this.prepareModel();
    return this.prepared;
  }

  /** Hands the model's settings to its manager, and loads it at once where the settings say so. */
  private async prepareModel(): Promise<void> {
    const settings = await this.configuration.settingsFor();
    await this.models.configure(settings);
    if (settings.engine.start === "background" && settings.completion.enabled) await this.models.ready();
  }

  private async settingsChanged(sent: unknown): Promise<void> {
    this.configuration.changed(sent);
    this.service.startAfresh();
    this.prepared = this.prepareModel();
    await this.prepared;
  }

  private async restartEngine(): Promise<null> {
    this.refuseAfterEnd();
    this.service.startAfresh();
    await this.models.unload();
    void this.models.ready();
    return null;
  }

  private async shutdown(): Promise<void> {
    this.ended = true;
    this.service.startAfresh();
    await this.models.end();
  }

  private refuseAfterEnd(): void {
    if (this.ended) throw new ResponseError(ErrorCodes.InvalidRequest, "The server has been shut down.");
  }

  /** An editor that is gone is no reason to fail. */
  private send(method: string, params: unknown): void {
    this.connection.sendNotification(method, params).catch((error: unknown) => {
      this.log.debug(`${method} was not sent: ${messageOf(error)}`);
    });
  }
}

/** Editors show a message that they do not know as a warning, so it goes to those that asked for it. */
function wantsStatus({ capabilities }: InitializeParams, { status }: ServerInitializationOptions): boolean {
  const experimental = capabilities.experimental as { readonly pipoStatus?: unknown } | null | undefined;
  return status ?? experimental?.pipoStatus === true;
}

function initializeResult(version: string): InitializeResult {
  return {
    capabilities: {
      positionEncoding: "utf-16",
      textDocumentSync: { openClose: true, change: TextDocumentSyncKind.Incremental },
      inlineCompletionProvider: true,
      executeCommandProvider: { commands: [suggestionAcceptedCommand] },
      workspace: { workspaceFolders: { supported: true, changeNotifications: true } },
    },
    serverInfo: { name: "pipo", version },
  };
}

function pullFrom(connection: Connection, { capabilities }: InitializeParams): PullSettings | undefined {
  if (capabilities.workspace?.configuration !== true) return undefined;
  return (uri) =>
    connection.workspace.getConfiguration(
      uri === undefined ? { section: settingsSection } : { scopeUri: uri, section: settingsSection },
    );
}
