import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CancellationTokenSource } from "vscode-jsonrpc/node";
import { ServerGroup, type ServerProcess } from "../support/serverProcess.js";

/** Shows whatever the model writes: these tests are about the way, not about taste. */
const showAll = { completion: { minConfidence: 0, timeLimitMs: 60_000 } };
const python = "import os\nimport sys\n\n\ndef main(arguments):\n    for argument in arguments:\n        print(argument)\n    ";

/** Places where a model of code has something to say. */
const places = [
  python,
  "def add(first, second):\n    return ",
  "import os\nimport sys\nfrom ",
  "for index in range(10):\n    print(",
  "class Point:\n    def __init__(self, x, y):\n        self.x = ",
  'if __name__ == "__main__":\n    ',
];

const group = new ServerGroup();
let server: ServerProcess;
let documents = 0;
const newUri = (name = "example.py") => `file:///project/${++documents}/${name}`;

beforeAll(async () => {
  server = await group.start({ settings: showAll });
  await server.ready();
});
afterAll(() => group.stop());

/** Opens documents until the model suggests more than one character in one of them. `prepare` changes their text. */
async function suggestion(prepare = (text: string) => text) {
  for (const place of places) {
    const uri = newUri();
    const text = prepare(place);
    await server.open(uri, text);
    const lines = text.split("\n");
    const position = { line: lines.length - 1, character: lines.at(-1)!.length };
    const item = await server.complete(uri, position);
    const written = String(item?.insertText ?? "");
    if (item !== null && written.length > 1) return { uri, position, item, written };
  }
  throw new Error("the bundled model has nothing to say anywhere");
}

it("tells its capabilities and what it has loaded", async () => {
  expect(server.initializeResult).toMatchObject({
    capabilities: {
      positionEncoding: "utf-16",
      textDocumentSync: { openClose: true, change: 2 },
      inlineCompletionProvider: true,
      executeCommandProvider: { commands: ["pipo.suggestionAccepted"] },
    },
    serverInfo: { name: "pipo" },
  });
  expect((await server.ready()).model).toEqual(expect.any(String));
  expect((await server.ready()).backend).toMatch(/, int8, \d+ threads/);
});

describe("a suggestion", () => {
  it("is written by the bundled model in pairs, and the next keystroke extends", async () => {
    const filler = "# filler line that makes the prompt longer\n".repeat(60);
    const { uri, position, item, written } = await suggestion((text) => filler + text);
    expect(written).not.toMatch(/<\|\w+\|>/);
    expect(item.range).toEqual({ start: position, end: position });
    const { generation } = (await server.lastTrace())!;
    expect(generation).toMatchObject({ mode: "pair" });
    expect(generation!.promptTokens).toBeGreaterThan(100);
    expect(generation!.steps).toBeGreaterThan(0);
    expect(generation!.tokens).toBeLessThanOrEqual(2 * generation!.steps);
    expect(generation!.tokensPerStep).toBeCloseTo(generation!.tokens / generation!.steps, 1);

    await server.type(uri, position, "zq");
    await server.complete(uri, { ...position, character: position.character + 2 });
    const next = (await server.lastTrace())!.generation!;
    expect(next.cachedPositions).toBeGreaterThan(4 * next.extendPositions);
  });

  it("has one token a step when the gate keeps no second one", async () => {
    const other = await group.start({ settings: { ...showAll, engine: { threshold: 1 } } });
    const uri = newUri();
    await other.open(uri, python);
    await other.complete(uri, { line: 7, character: 4 });
    const { tokens, steps, accepted } = (await other.lastTrace())!.generation!;
    expect(accepted).toBe(0);
    expect(tokens).toBe(steps);
    await other.stop();
  });

  it("goes on while it is typed, without the model", async () => {
    const { uri, position, written } = await suggestion();
    await server.type(uri, position, written[0]!);
    const rest = await server.complete(uri, { ...position, character: position.character + 1 });
    expect(rest?.insertText).toBe(written.slice(1));
    expect((await server.lastTrace())?.outcome).toMatchObject({ source: "typedAsSuggested" });
  });

  it("stands at the right place among wide characters and CRLF", async () => {
    const { uri, position, item, written } = await suggestion((text) => `# 😀 grüße 世界 👋🏽\n${text}`.replaceAll("\n", "\r\n"));
    expect(item.range).toEqual({ start: position, end: position });
    expect(written).not.toContain("\r");
    await server.type(uri, { line: 0, character: 4 }, "é");
    expect((await server.complete(uri, position))?.insertText).toEqual(expect.any(String));

    const wide = newUri();
    await server.open(wide, 'face = "😀"\nprint(');
    expect(await server.complete(wide, { line: 0, character: 9 }, { invoked: true })).toBeNull();
    expect((await server.lastTrace())?.outcome).toMatchObject({ reason: "invalidPosition" });
  });

  it.each([
    ["m = '你好'\nk = ", ""],
    ["values = [1, 2, 3]\njson.loads(", ")\n"],
  ])("holds no thoughts and leaves a line whose brackets match: %j", async (before, after) => {
    const uri = newUri();
    await server.open(uri, before + after);
    const lines = before.split("\n");
    const item = await server.complete(uri, { line: lines.length - 1, character: lines.at(-1)!.length });
    expect((await server.lastTrace())?.generation?.steps).toBeGreaterThan(0);
    const line = `${lines.at(-1)}${item?.insertText ?? ""}${after}`;
    expect(line).not.toContain("think>");
    expect(line.split("(").length).toBe(line.split(")").length);
  });

  it("is counted when it is accepted", async () => {
    const { item } = await suggestion();
    const before = (await server.statistics()).accepted;
    const { command, arguments: ids } = item.command!;
    for (let times = 0; times < 2; times++) {
      await server.connection.sendRequest("workspace/executeCommand", { command, arguments: ids });
    }
    expect((await server.statistics()).accepted).toBe(before + 1);
  });
});

describe("requests", () => {
  it("that follow one another quickly: only the newest reaches the model", async () => {
    const busy = await group.start({ settings: { ...showAll, engine: { start: "firstRequest" } } });
    const uri = newUri();
    await busy.open(uri, python);
    const typed = "value = compute(";
    const answers = [...typed].map((letter, index) => {
      void busy.type(uri, { line: 7, character: 4 + index }, letter);
      return busy.complete(uri, { line: 7, character: 5 + index });
    });
    const items = await Promise.all(answers);
    expect(items.slice(0, -1)).toEqual(Array(typed.length - 1).fill(null));
    expect((await busy.statistics()).byReason.superseded).toBe(typed.length - 1);
    expect((await busy.lastTrace())?.generation?.promptTokens).toBeGreaterThan(10);
    expect(await busy.lastTrace()).toMatchObject({ line: 7, character: 4 + typed.length });
    await busy.stop();
  });

  it("that the editor withdraws are answered null, and the next one works", async () => {
    const uri = newUri();
    await server.open(uri, `${"total = first_value + second_value\n".repeat(300)}${python}`);
    const source = new CancellationTokenSource();
    const position = { line: 307, character: 4 };
    const answer = server.complete(uri, position, { token: source.token });
    source.cancel();
    expect(await answer).toBeNull();
    expect((await server.lastTrace())?.outcome).toMatchObject({ kind: "empty", reason: "cancelled" });
    await server.complete(uri, position);
    expect((await server.lastTrace())?.generation?.steps).toBeGreaterThan(0);
  });

  it.each([
    ["an empty document", "", { line: 0, character: 0 }, "emptyDocument"],
    ["a binary document", "\0\0ELF\0", { line: 0, character: 3 }, "binaryContent"],
    ["a word", "value", { line: 0, character: 2 }, "midWord"],
    ["a line that does not exist", "x = ", { line: 9, character: 0 }, "invalidPosition"],
  ])("in %s are answered null, with the reason", async (_what, text, position, reason) => {
    const uri = newUri();
    await server.open(uri, text);
    expect(await server.complete(uri, position)).toBeNull();
    expect((await server.lastTrace())?.outcome).toMatchObject({ kind: "empty", reason });
  });

  it("in a file with secrets are answered null, and the status names the pattern", async () => {
    const uri = newUri(".env.production");
    await server.open(uri, "TOKEN=");
    const seen = server.statuses.length;
    expect(await server.complete(uri, { line: 0, character: 6 }, { invoked: true })).toBeNull();
    const status = await server.status(({ reason }) => reason === "excludedFile", seen);
    expect(status).toMatchObject({ state: "disabled", message: expect.stringContaining("**/.env.*") });
  });

  it("in a document that is not open are answered null", async () => {
    expect(await server.complete("file:///nowhere.py", { line: 0, character: 0 })).toBeNull();
  });

  it("with lone surrogates and untitled documents are answered", async () => {
    const uri = "untitled:Untitled-1";
    await server.open(uri, `# \ud800 \udc00\n${python}`);
    await server.complete(uri, { line: 8, character: 4 });
    expect(await server.lastTrace()).toMatchObject({ uri, generation: { steps: expect.any(Number) } });
    await server.close(uri);
    expect(await server.complete(uri, { line: 8, character: 4 })).toBeNull();
  });
});

it("works in a document of 10 MB without copying it into the prompt", async () => {
  const uri = newUri();
  const line = "total = first_value + second_value  # the sum of both\n";
  const lines = Math.ceil(10_000_000 / line.length);
  await server.open(uri, line.repeat(lines) + python);
  const at = lines + 7;
  await server.complete(uri, { line: at, character: 4 });
  expect((await server.lastTrace())?.generation?.steps).toBeGreaterThan(0);
  for (const [index, letter] of [..."zqx = "].entries()) {
    await server.type(uri, { line: at, character: 4 + index }, letter);
    await server.complete(uri, { line: at, character: 5 + index });
  }
  const trace = (await server.lastTrace())!;
  const aside = trace.stages.filter(({ stage }) => stage !== "generate" && stage !== "engine");
  expect(aside.reduce((sum, { ms }) => sum + ms, 0)).toBeLessThan(200);
  expect(trace.generation?.promptTokens ?? 0).toBeLessThan(1_500);
  await server.close(uri);
});
