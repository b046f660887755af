import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { ServerInProcess } from "../../support/serverInProcess.js";

const uri = "file:///t/a.py";
const invalidRequest = { code: -32600 };

async function started(text: string, answer: ServerInProcess["answer"], options: Parameters<typeof ServerInProcess.start>[0] = {}) {
  const server = await ServerInProcess.start(options);
  server.answer = answer;
  await server.open(uri, text);
  return server;
}

describe("a client that does not do everything", () => {
  it("and never says that it is initialized is answered", async () => {
    const server = await started("k = ", "1", { saysInitialized: false });
    expect(await server.ask(uri, 0, 4)).toMatchObject({ insertText: "1" });
  });

  it("and never answers the registration of a capability is answered", async () => {
    const capabilities = { workspace: { didChangeConfiguration: { dynamicRegistration: true } } };
    const server = await started("k = ", "1", { capabilities });
    expect(await server.ask(uri, 0, 4)).toMatchObject({ insertText: "1" });
  });

  it("and asked for nothing hears nothing but the standard, and no details", async () => {
    const server = await started("k = ", "1");
    for (let times = 0; times < 3; times++) await server.ask(uri, 0, 4);
    const others = server.methods().filter((method) => method !== "window/logMessage");
    expect(others).toEqual([]);
    const types = server.received.map(({ params }) => (params as { type?: number }).type);
    expect(types.filter((type) => type === undefined || type > 4)).toEqual([]);
  });

  it.each([
    ["in its options", { initializationOptions: { status: true } }],
    ["as a capability", { capabilities: { experimental: { pipoStatus: true } } }],
  ])("hears of the state when it asked for it %s", async (_where, options) => {
    const server = await started("k = ", "1", options);
    await server.ask(uri, 0, 4);
    expect(server.methods()).toContain("pipo/status");
  });

  it("hears details when it traces", async () => {
    const server = await started("k = ", "1");
    await server.client.sendNotification("$/setTrace", { value: "messages" });
    await server.ask(uri, 0, 4);
    expect(server.received).toContainEqual({ method: "$/logTrace", params: { message: expect.stringContaining("1 characters from model") } });
  });

  it("hears details in its log when it says that it shows them", async () => {
    const server = await started("k = ", "1");
    await server.client.sendNotification("pipo/logDetails", { on: true });
    await server.ask(uri, 0, 4);
    expect(server.received).toContainEqual({ method: "window/logMessage", params: { type: 5, message: expect.stringContaining("from model") } });
  });

  it("sends options of the wrong kind and gets the defaults, with a word about it", async () => {
    const server = await started("k = ", "1", { initializationOptions: { cacheDir: 5, bundledModelPath: "", settings: 7 } });
    expect(await server.ask(uri, 0, 4)).toMatchObject({ insertText: "1" });
    const logged = JSON.stringify(server.received);
    expect(logged).toMatch(/initializationOptions\.cacheDir: .*default/);
    expect(logged).toMatch(/initializationOptions\.settings: .*default/);
    expect(logged).not.toContain("bundledModelPath");
  });
});

describe("the order of the protocol", () => {
  it("has one initialize; a second one changes nothing", async () => {
    const server = await started("k = ", "1");
    await expect(server.initialize()).rejects.toMatchObject(invalidRequest);
    expect(await server.ask(uri, 0, 4)).toMatchObject({ insertText: "1" });
    expect(server.opened).toHaveLength(1);
  });

  it("has nothing after shutdown, and loads no model again", async () => {
    const server = await started("k = ", "1");
    await server.ask(uri, 0, 4);
    expect(await server.client.sendRequest("shutdown")).toBeNull();
    await expect(server.ask(uri, 0, 4)).rejects.toMatchObject(invalidRequest);
    for (const method of ["pipo/restartEngine", "pipo/lastTrace", "pipo/statistics"]) {
      await expect(server.client.sendRequest(method)).rejects.toMatchObject(invalidRequest);
    }
    expect(server.opened.map(({ closed }) => closed)).toEqual([true]);
  });
});

describe("a text that changes while a request waits", () => {
  const above = { line: 0, character: 0 };

  it("for the model: the answer of the old text is not given", async () => {
    const server = await started("a = 1\nb = 2\ntotal = \n", { text: "first + second", stepMs: 10 });
    const answer = server.ask(uri, 2, 8);
    await sleep(60);
    await server.insert(uri, above, "# a line\n");
    expect(await answer).toBeNull();
    expect(server.opened[0]!.stepsRun).toBeLessThan(7);
    server.answer = "first";
    expect(await server.ask(uri, 3, 8)).toMatchObject({ insertText: "first", range: { start: { line: 3, character: 8 } } });
  });

  it("for settings: the old position is not used in the new text", async () => {
    const server = await started("a = 1\ntotal = \n", "first", {
      capabilities: { workspace: { configuration: true } },
      configuration: () => sleep(100, {}),
    });
    const answer = server.ask(uri, 1, 8);
    await sleep(20);
    await server.insert(uri, above, "# one\n# two\n");
    expect(await answer).toBeNull();
    expect(server.opened[0]?.requests ?? []).toEqual([]);
    expect(await server.client.sendRequest("pipo/statistics")).toMatchObject({ byReason: { superseded: 1 } });
  });
});

it("takes changes as clients of all ages write them", async () => {
  const server = await started("old = ", "1");
  await server.change(uri, { range: null, rangeLength: null, text: "brand_new_name = " });
  expect(await server.ask(uri, 0, 17)).toMatchObject({ insertText: "1", range: { start: { line: 0, character: 17 } } });
});

it("answers for a document under another spelling of its name", async () => {
  const server = await started("k = ", "1");
  expect(await server.ask("file:/t/%61.py", 0, 4)).toMatchObject({ insertText: "1" });
});

it("reads nothing that a pattern of the workspace folder excludes", async () => {
  const server = await started("k = ", "1", {
    workspaceFolders: [{ uri: "file:///t", name: "t" }],
    initializationOptions: { settings: { completion: { exclude: ["a.*/", "./a.py"] } } },
  });
  expect(await server.ask(uri, 0, 4)).toBeNull();
  expect(await server.client.sendRequest("pipo/lastTrace")).toMatchObject({ outcome: { reason: "excludedFile", detail: "a.*/" } });
});
