import {
  type Connection,
  DidChangeConfigurationNotification,
  type InitializeParams,
  type InitializeResult,
  TextDocumentSyncKind,
} from "vscode-languageserver/node";
import {
  lastTraceRequest,
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
import { ModelManager } from "./models/modelManager.js";
import { type CompletionHost, CompletionService } from "./completion/service.js";
import { StatusReporter } from "./completion/statusReporter.js";
import { Configuration, type PullSettings } from "./handlers/configuration.js";
import { followDocuments } from "./handlers/documents.js";
import { editorLog } from "./handlers/editorLog.js";
import { handleInlineCompletion } from "./handlers/inlineCompletion.js";
import { handleModels, handlePullModel, type ModelsHost } from "./handlers/models.js";
import { messageOf } from "./files.js";
import type { Logger } from "./log.js";
import type { Machine } from "./models/fit.js";
import type { OpenModel } from "./models/modelManager.js";

/** What the program gives the server: who it is, and how a model is opened. */
export interface ServerHost {
  readonly version: string;
  /** What the machine gives to completion. */
  readonly completion: CompletionHost;
  openModel(options: ServerInitializationOptions, log: Logger): OpenModel;
  /** Folder of downloaded models. */
  readonly modelsDirectory: string;
  /** This machine with so many threads (0: the engine's choice), for choosing a model. */
  describeMachine(options: ServerInitializationOptions, threads: number): Promise<Machine>;
}

/** Connects an editor with the completion service. Glue only: what a request means is decided in `completion/`. */
export class PipoServer {
  private readonly log: Logger;
  private readonly models: ModelManager;
  private readonly service: CompletionService;
  private readonly status: StatusReporter;

  private constructor(
    private readonly connection: Connection,
    private readonly configuration: Configuration,
    host: ServerHost,
    openModel: OpenModel,
    private readonly choice: ModelsHost,
  ) {
    this.log = editorLog(connection);
    this.status = new StatusReporter((status) => this.send(statusNotification.method, status));
    this.models = new ModelManager(openModel, this.log, (state) => this.status.modelChanged(state));
    this.service = new CompletionService(this.models, this.status, this.log, host.completion);
  }

  /** Answers `initialize`, and from then on everything else. */
  static listen(connection: Connection, host: ServerHost): void {
    connection.onInitialize((params) => {
      const options = (params.initializationOptions ?? {}) as ServerInitializationOptions;
      const log = editorLog(connection);
      const configuration = new Configuration(options.settings, pullFrom(connection, params), log);
      const choice: ModelsHost = {
        modelsDirectory: host.modelsDirectory,
        describeMachine: async () => host.describeMachine(options, (await configuration.settingsFor()).engine.threads),
        sendProgress: (progress) => server.send(pullProgressNotification.method, progress),
        log,
      };
      const server = new PipoServer(connection, configuration, host, host.openModel(options, log), choice);
      server.register(params);
      return initializeResult(host.version);
    });
    connection.listen();
  }

  private register(params: InitializeParams): void {
    const { connection, service, configuration } = this;
    const documents = followDocuments(connection, (uri) => {
      service.forget(uri);
      configuration.forget(uri);
    });
    connection.languages.inlineCompletion.on((completionParams, token) =>
      handleInlineCompletion(
        {
          document: (uri) => documents.get(uri),
          settingsFor: (uri) => configuration.settingsFor(uri),
          complete: (request) => service.complete(request),
        },
        completionParams,
        token,
      ),
    );
    connection.onExecuteCommand(({ command, arguments: [id] = [] }) => {
      if (command === suggestionAcceptedCommand) service.accepted(String(id));
      return null;
    });
    connection.onRequest(restartEngineRequest.method, () => this.restartEngine());
    connection.onRequest(lastTraceRequest.method, () => service.lastTrace);
    connection.onRequest(statisticsRequest.method, () => service.statisticsSnapshot());
    connection.onRequest(modelsRequest.method, () => handleModels(this.choice));
    connection.onRequest(pullModelRequest.method, (params: PullModelParams, token) => handlePullModel(this.choice, params, token));
    connection.onDidChangeConfiguration(({ settings }) => this.settingsChanged(settings));
    connection.onInitialized(() => this.initialized(params));
    connection.onShutdown(() => this.shutdown());
  }

  private async initialized(params: InitializeParams): Promise<void> {
    if (params.capabilities.workspace?.didChangeConfiguration?.dynamicRegistration) {
      await this.connection.client.register(DidChangeConfigurationNotification.type, undefined);
    }
    this.status.update(/*force=*/ true);
    await this.prepareModel();
  }

  /** Hands the model's settings to the keeper, and loads it at once where the settings say so. */
  private async prepareModel(): Promise<void> {
    const settings = await this.configuration.settingsFor();
    await this.models.configure(settings);
    if (settings.engine.start === "background" && settings.completion.enabled) await this.models.ready();
  }

  private async settingsChanged(sent: unknown): Promise<void> {
    this.configuration.changed(sent);
    this.service.startAfresh();
    await this.prepareModel();
  }

  private async restartEngine(): Promise<null> {
    this.service.startAfresh();
    await this.models.unload();
    void this.models.ready();
    return null;
  }

  private async shutdown(): Promise<void> {
    this.service.startAfresh();
    await this.models.unload();
  }

  /** An editor that is gone is no reason to fail. */
  private send(method: string, params: unknown): void {
    this.connection.sendNotification(method, params).catch((error: unknown) => {
      this.log.debug(`${method} was not sent: ${messageOf(error)}`);
    });
  }
}

function initializeResult(version: string): InitializeResult {
  return {
    capabilities: {
      positionEncoding: "utf-16",
      textDocumentSync: { openClose: true, change: TextDocumentSyncKind.Incremental },
      inlineCompletionProvider: true,
      executeCommandProvider: { commands: [suggestionAcceptedCommand] },
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
