import { afterAll, expect, it } from "vitest";
import { CancellationTokenSource } from "vscode-jsonrpc/node";
import { restartEngineRequest } from "../../server/protocol/messages.js";
import { ServerGroup, type ServerProcess } from "../support/serverProcess.js";

const group = new ServerGroup();
afterAll(() => group.stop());

const start = "import os\n\n\ndef main(arguments):\n    for argument in arguments:\n        print(argument)\n    ";
const words = ["value", " = ", "(", ")", "\n    ", "😀", "return ", "x", ".", '"'];

/** Repeatable numbers below `limit`. */
function numbers(seed: number) {
  let state = seed;
  return (limit: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}

/** Somebody who types, asks, withdraws, switches documents and changes settings, without ever waiting. */
class RestlessUser {
  readonly answers: Promise<unknown>[] = [];
  private readonly lines = new Map<string, string[]>();

  constructor(
    private readonly server: ServerProcess,
    private readonly below: (limit: number) => number,
  ) {
    for (const name of ["a.py", "b.py", "c.ts"]) this.open(`file:///project/${name}`);
  }

  act(): void {
    const uri = [...this.lines.keys()][this.below(this.lines.size)]!;
    const choice = this.below(100);
    if (choice < 45) this.typeAndAsk(uri);
    else if (choice < 80) this.ask(uri);
    else if (choice < 92) this.askAndWithdraw(uri);
    else if (choice < 96) this.reopen(uri);
    else if (choice < 98) void this.server.connection.sendNotification("workspace/didChangeConfiguration", { settings: null });
    else this.answers.push(this.server.connection.sendRequest(restartEngineRequest.method));
  }

  private open(uri: string): void {
    this.lines.set(uri, start.split("\n"));
    void this.server.open(uri, start);
  }

  private reopen(uri: string): void {
    void this.server.close(uri);
    this.open(uri);
  }

  private end(uri: string) {
    const lines = this.lines.get(uri)!;
    return { line: lines.length - 1, character: lines.at(-1)!.length };
  }

  private typeAndAsk(uri: string): void {
    const word = words[this.below(words.length)]!;
    void this.server.type(uri, this.end(uri), word);
    const lines = this.lines.get(uri)!;
    this.lines.set(uri, [...lines.slice(0, -1), ...`${lines.at(-1)}${word}`.split("\n")]);
    this.ask(uri);
  }

  private ask(uri: string): void {
    this.answers.push(this.server.complete(uri, this.end(uri), { invoked: this.below(4) === 0 }));
  }

  private askAndWithdraw(uri: string): void {
    const source = new CancellationTokenSource();
    this.answers.push(this.server.complete(uri, this.end(uri), { token: source.token }));
    setTimeout(() => source.cancel(), this.below(20));
  }
}

it.each([1, 2, 3])("answers everything that a restless user asks, and works on: %i", async (seed) => {
  const server = await group.start({ configuration: () => ({ completion: { minConfidence: 0 } }) });
  const below = numbers(seed);
  const user = new RestlessUser(server, below);
  for (let action = 0; action < 300; action++) {
    user.act();
    if (below(5) === 0) await new Promise((resolve) => setTimeout(resolve, below(15)));
  }
  const answers = await Promise.all(user.answers);
  expect(answers.length).toBeGreaterThan(200);

  await server.open("file:///project/last.py", start);
  await server.complete("file:///project/last.py", { line: 6, character: 4 });
  expect((await server.lastTrace())?.generation?.steps).toBeGreaterThan(0);
  const { requests, suggestions, byReason } = await server.statistics();
  expect(suggestions + Object.values(byReason).reduce((sum, count) => sum + count, 0)).toBe(requests);
  expect(byReason.superseded).toBeGreaterThan(0);
  expect(byReason.engineFailed).toBe(0);
  expect(server.logs.filter((line) => /failed|Unexpected/.test(line))).toEqual([]);
  expect(await server.stop()).toBe(0);
});
