import { type ChildProcess, fork, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import {
  CancellationToken,
  createMessageConnection,
  IPCMessageReader,
  IPCMessageWriter,
  type MessageConnection,
  StreamMessageReader,
  StreamMessageWriter,
} from "vscode-jsonrpc/node";
import type { InlineCompletionItem, Position } from "vscode-languageserver/node";
import {
  type CompletionStatistics,
  type CompletionTrace,
  lastTraceRequest,
  type ServerStatus,
  statisticsRequest,
  statusNotification,
} from "../../server/protocol/messages.js";
import type { DeepPartial, PipoSettings, ServerInitializationOptions } from "../../server/protocol/settings.js";

const root = path.resolve(import.meta.dirname, "../..");
const serverBundle = path.join(root, "dist", "server.js");

export interface ServerOptions extends ServerInitializationOptions {
  /** Answers `workspace/configuration`; without it the client cannot be asked. */
  readonly configuration?: (scopeUri: string | undefined) => DeepPartial<PipoSettings> | null;
  /** `stdio` unless told; VS Code uses `ipc`. */
  readonly transport?: "stdio" | "ipc";
}

interface ConnectedProcess {
  readonly child: ChildProcess;
  readonly connection: MessageConnection;
}

function connectOverStdio(): ConnectedProcess {
  const child = spawn(process.execPath, [serverBundle, "--stdio"], { stdio: ["pipe", "pipe", "inherit"] });
  return { child, connection: createMessageConnection(new StreamMessageReader(child.stdout), new StreamMessageWriter(child.stdin)) };
}

function connectOverIpc(): ConnectedProcess {
  const child = fork(serverBundle, ["--node-ipc"]);
  return { child, connection: createMessageConnection(new IPCMessageReader(child), new IPCMessageWriter(child)) };
}

/** The bundled server in a process of its own, spoken to over stdio as an editor would. */
export class ServerProcess {
  readonly statuses: ServerStatus[] = [];
  readonly logs: string[] = [];
  /** Exit code, or the signal that ended it. */
  readonly ended: Promise<number | NodeJS.Signals>;
  initializeResult: unknown;
  private readonly documents = new Map<string, { version: number; text: string }>();
  private waiting: (() => void)[] = [];

  private constructor(
    readonly child: ChildProcess,
    readonly connection: MessageConnection,
  ) {
    this.ended = new Promise((resolve) => child.on("exit", (code, signal) => resolve(code ?? signal!)));
    connection.onNotification(statusNotification.method, (status: ServerStatus) => {
      this.statuses.push(status);
      for (const wake of this.waiting.splice(0)) wake();
    });
    connection.onNotification("window/logMessage", ({ message }: { message: string }) => void this.logs.push(message));
    connection.onRequest("client/registerCapability", () => null);
    // A server that is killed takes the stream with it.
    connection.onError(() => undefined);
    child.stdin?.on("error", () => undefined);
  }

  static async start({ configuration, transport, ...initializationOptions }: ServerOptions): Promise<ServerProcess> {
    if (!existsSync(serverBundle)) throw new Error(`${serverBundle} is missing: run "npm run build" first.`);
    const { child, connection } = transport === "ipc" ? connectOverIpc() : connectOverStdio();
    const server = new ServerProcess(child, connection);
    connection.onRequest("workspace/configuration", ({ items }: { items: { scopeUri?: string }[] }) =>
      items.map(({ scopeUri }) => configuration?.(scopeUri) ?? null),
    );
    connection.listen();
    const workspace = { configuration: configuration !== undefined, didChangeConfiguration: { dynamicRegistration: true } };
    server.initializeResult = await connection.sendRequest("initialize", {
      processId: process.pid,
      rootUri: null,
      capabilities: { workspace, textDocument: { inlineCompletion: {} } },
      initializationOptions: { status: true, ...initializationOptions },
    });
    await connection.sendNotification("initialized", {});
    return server;
  }

  open(uri: string, text: string, languageId = "python"): Promise<void> {
    this.documents.set(uri, { version: 1, text });
    return this.connection.sendNotification("textDocument/didOpen", { textDocument: { uri, languageId, version: 1, text } });
  }

  /** Types at a position, as an editor that synchronises incrementally. */
  type(uri: string, at: Position, text: string): Promise<void> {
    const document = this.documents.get(uri)!;
    document.version += 1;
    return this.connection.sendNotification("textDocument/didChange", {
      textDocument: { uri, version: document.version },
      contentChanges: [{ range: { start: at, end: at }, text }],
    });
  }

  close(uri: string): Promise<void> {
    return this.connection.sendNotification("textDocument/didClose", { textDocument: { uri } });
  }

  /** The item at a position, or null. Triggered by typing unless `invoked`. */
  async complete(
    uri: string,
    position: Position,
    { invoked = false, token = CancellationToken.None }: { invoked?: boolean; token?: CancellationToken } = {},
  ): Promise<InlineCompletionItem | null> {
    const params = { textDocument: { uri }, position, context: { triggerKind: invoked ? 1 : 2 } };
    const items: InlineCompletionItem[] | null = await this.connection.sendRequest("textDocument/inlineCompletion", params, token);
    return items?.[0] ?? null;
  }

  lastTrace(): Promise<CompletionTrace | null> {
    return this.connection.sendRequest(lastTraceRequest.method);
  }

  statistics(): Promise<CompletionStatistics> {
    return this.connection.sendRequest(statisticsRequest.method);
  }

  /** The first status, past or future, that fits. */
  async status(fits: (status: ServerStatus) => boolean, after = 0): Promise<ServerStatus> {
    for (;;) {
      const found = this.statuses.slice(after).find(fits);
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    }
  }

  ready(): Promise<ServerStatus> {
    return this.status(({ state }) => state === "ready");
  }

  /** Ends the server as the protocol says; gives its exit code. */
  async stop(): Promise<number | NodeJS.Signals> {
    if (this.child.exitCode === null && this.child.signalCode === null) {
      await this.connection.sendRequest("shutdown");
      await this.connection.sendNotification("exit");
    }
    return this.ended;
  }
}

/** Starts servers that share one directory for packed weights, and ends them all. */
export class ServerGroup {
  readonly cacheDir = mkdtempSync(path.join(tmpdir(), "pipo-server-"));
  private readonly servers: ServerProcess[] = [];

  async start(options: ServerOptions = {}): Promise<ServerProcess> {
    const server = await ServerProcess.start({ cacheDir: this.cacheDir, ...options });
    this.servers.push(server);
    return server;
  }

  async stop(): Promise<void> {
    for (const server of this.servers) {
      server.child.kill("SIGKILL");
      server.connection.dispose();
      await server.ended;
    }
    rmSync(this.cacheDir, { recursive: true, force: true });
  }
}
