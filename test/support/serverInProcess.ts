import { PassThrough } from "node:stream";
import { createMessageConnection, type MessageConnection, StreamMessageReader, StreamMessageWriter } from "vscode-jsonrpc/node";
import { createConnection, type InitializeParams, type InlineCompletionItem, type Position } from "vscode-languageserver/node";
import { PipoServer } from "../../server/src/server.js";
import { type FakeAnswer, FakeModel } from "./fakeEngine.js";

export interface ClientOptions {
  readonly capabilities?: InitializeParams["capabilities"];
  readonly initializationOptions?: unknown;
  readonly workspaceFolders?: InitializeParams["workspaceFolders"];
  /** False: the client never says `initialized`. */
  readonly saysInitialized?: boolean;
  /** Answers `workspace/configuration`. */
  readonly configuration?: (scopeUri: string | undefined) => unknown;
}

/** A server over a fake model in this process, and an editor that says to it whatever a test wants. */
export class ServerInProcess {
  readonly received: { readonly method: string; readonly params: unknown }[] = [];
  readonly opened: FakeModel[] = [];
  version = 1;
  answer: FakeAnswer | string = "";

  private constructor(readonly client: MessageConnection) {}

  static async start(options: ClientOptions = {}): Promise<ServerInProcess> {
    const [toServer, toClient] = [new PassThrough(), new PassThrough()];
    const client = createMessageConnection(new StreamMessageReader(toClient), new StreamMessageWriter(toServer));
    const server = new ServerInProcess(client);
    PipoServer.listen(createConnection(toServer, toClient), {
      version: "0",
      modelsDirectory: "models",
      describeMachine: async () => ({ kernels: "", threads: 1, totalMemory: 0, availableMemory: 0, readBandwidth: undefined }),
      openModel: () => async () => {
        const model = new FakeModel(() => server.answer, { fimFormat: "qwen" });
        server.opened.push(model);
        return model;
      },
    });
    client.onNotification((method, params) => void server.received.push({ method, params }));
    client.onNotification("$/logTrace", (params) => void server.received.push({ method: "$/logTrace", params }));
    client.onRequest("client/registerCapability", () => new Promise(() => undefined));
    client.onRequest("workspace/configuration", ({ items }: { items: { scopeUri?: string }[] }) =>
      Promise.all(items.map(({ scopeUri }) => options.configuration?.(scopeUri) ?? null)),
    );
    client.listen();
    await server.initialize(options);
    if (options.saysInitialized !== false) await client.sendNotification("initialized", {});
    return server;
  }

  initialize({ capabilities = {}, initializationOptions, workspaceFolders = null }: ClientOptions = {}): Promise<unknown> {
    const params = { processId: null, rootUri: null, capabilities, initializationOptions, workspaceFolders };
    return this.client.sendRequest("initialize", params);
  }

  open(uri: string, text: string, languageId = "python"): Promise<void> {
    return this.client.sendNotification("textDocument/didOpen", { textDocument: { uri, languageId, version: 1, text } });
  }

  change(uri: string, ...contentChanges: readonly object[]): Promise<void> {
    return this.client.sendNotification("textDocument/didChange", { textDocument: { uri, version: ++this.version }, contentChanges });
  }

  insert(uri: string, at: Position, text: string): Promise<void> {
    return this.change(uri, { range: { start: at, end: at }, text });
  }

  async ask(uri: string, line: number, character: number): Promise<InlineCompletionItem | null> {
    const params = { textDocument: { uri }, position: { line, character }, context: { triggerKind: 2 } };
    return (await this.client.sendRequest<InlineCompletionItem[] | null>("textDocument/inlineCompletion", params))?.[0] ?? null;
  }

  methods(): readonly string[] {
    return this.received.map(({ method }) => method);
  }
}
