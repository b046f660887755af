import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { onTestFinished } from "vitest";

/** What is sent: a buffer, or something that makes its bytes when they are asked for. */
export interface SentBytes {
  readonly length: number;
  subarray(start: number, end: number): Buffer;
}

/** One request for the file's bytes, as it arrived where the bytes are. */
export interface SeenRequest {
  readonly start: number;
  readonly authorization: string | undefined;
}

export interface HubBehaviour {
  /** Answers every request of the hub with this status. */
  readonly status?: number;
  /** Bytes after which the n-th transfer breaks off. */
  readonly breakAfter?: readonly number[];
  /** Bytes after which the n-th transfer ends as if it were complete. */
  readonly endAfter?: readonly number[];
  readonly pieceBytes?: number;
  /** Milliseconds between two pieces. */
  readonly slowMs?: number;
  readonly ignoresRanges?: boolean;
}

/**
 * Behaves like the hub: `/<repository>/resolve/<revision>/<file>` leads to another host, which sends ranges of the bytes.
 * Ends with the test unless told otherwise.
 */
export class FakeHub {
  readonly seen: SeenRequest[] = [];
  readonly asked: { readonly path: string; readonly authorization: string | undefined }[] = [];

  private constructor(
    private readonly bytes: SentBytes,
    private readonly behaviour: HubBehaviour,
  ) {}

  /** The server and its address; `whenOver` is told how to end it. */
  static async start(bytes: SentBytes, behaviour: HubBehaviour = {}, whenOver: (end: () => void) => void = onTestFinished): Promise<{ hub: FakeHub; url: string }> {
    const hub = new FakeHub(bytes, behaviour);
    const server = createServer((request, response) => hub.answer(request, response));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    whenOver(() => {
      server.closeAllConnections();
      server.close();
    });
    return { hub, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
  }

  private answer(request: IncomingMessage, response: ServerResponse): void {
    const { authorization, host = "" } = request.headers;
    if (request.url?.startsWith("/bytes")) return this.send(request, response);
    this.asked.push({ path: request.url ?? "", authorization });
    const { status } = this.behaviour;
    if (status !== undefined) return void response.writeHead(status).end();
    // Another origin, as the hub has its bytes elsewhere.
    response.writeHead(302, { location: `http://localhost:${host.split(":")[1]}/bytes` }).end();
  }

  private send(request: IncomingMessage, response: ServerResponse): void {
    const range = this.behaviour.ignoresRanges ? null : /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
    const [start, end] = range ? [Number(range[1]), Number(range[2]) + 1] : [0, this.bytes.length];
    const headers = range ? { "content-range": `bytes ${start}-${end - 1}/${this.bytes.length}` } : {};
    response.writeHead(range ? 206 : 200, { "content-length": end - start, etag: '"one"', ...headers });
    if (end - start === 1) return void response.end(this.bytes.subarray(start, end));
    const transfer = this.seen.push({ start, authorization: request.headers.authorization }) - 1;
    void this.sendPieces(response, start, end, transfer);
  }

  private async sendPieces(response: ServerResponse, start: number, end: number, transfer: number): Promise<void> {
    const { slowMs = 0, breakAfter = [], endAfter = [], pieceBytes: piece = 10_000 } = this.behaviour;
    for (let at = 0; at < end - start && !response.destroyed; at += piece) {
      if (at >= (breakAfter[transfer] ?? Infinity)) return void response.destroy();
      if (at >= (endAfter[transfer] ?? Infinity)) return void response.socket?.end();
      response.write(this.bytes.subarray(start + at, Math.min(start + at + piece, end)));
      await new Promise((resolve) => setTimeout(resolve, slowMs));
    }
    response.end();
  }
}
