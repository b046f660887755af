import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { restartEngineRequest } from "../../server/protocol/messages.js";
import { ServerGroup, type ServerProcess } from "../support/serverProcess.js";

const group = new ServerGroup();
afterAll(() => group.stop());

const uri = "file:///project/example.py";
const python = "def add(first, second):\n    ";
const cursor = { line: 1, character: 4 };
const showAll = { completion: { minConfidence: 0 } };

async function ask(server: ServerProcess) {
  await server.open(uri, python);
  return server.complete(uri, cursor);
}

describe("the process", () => {
  it("ends with 0 after shutdown and exit", async () => {
    const server = await group.start({ settings: showAll });
    expect(await ask(server)).not.toBeNull();
    expect(await server.stop()).toBe(0);
  });

  it("speaks over the IPC of Node as well", async () => {
    const server = await group.start({ transport: "ipc", settings: showAll });
    await ask(server);
    expect((await server.lastTrace())?.generation?.steps).toBeGreaterThan(0);
    expect(await server.stop()).toBe(0);
  });

  it("ends with 0 in the middle of loading and of generating", async () => {
    const loading = await group.start();
    expect(await loading.stop()).toBe(0);
    const generating = await group.start({ settings: showAll });
    await generating.ready();
    await generating.open(uri, `${"x = 1\n".repeat(300)}${python}`);
    const answer = generating.complete(uri, { line: 301, character: 4 });
    expect(await generating.stop()).toBe(0);
    expect(await answer.catch(() => null)).toBeNull();
  });

  it("ends with 1 when it was not shut down before", async () => {
    const server = await group.start();
    await server.connection.sendNotification("exit");
    expect(await server.ended).toBe(1);
  });

  it("ends when the editor is gone", async () => {
    const server = await group.start();
    await server.ready();
    server.child.stdin!.end();
    expect(await server.ended).toBe(1);
  });

  it("can be killed at any time: the next one starts from the same cache", async () => {
    const cacheDir = path.join(group.cacheDir, "killed");
    const loading = await group.start({ cacheDir });
    await loading.status(({ state }) => state === "loading");
    loading.child.kill("SIGKILL");
    expect(await loading.ended).toBe("SIGKILL");

    const generating = await group.start({ cacheDir, settings: showAll });
    await generating.ready();
    await generating.open(uri, `${"x = 1\n".repeat(300)}${python}`);
    void generating.complete(uri, { line: 301, character: 4 }).catch(() => undefined);
    await new Promise((resolve) => setTimeout(resolve, 5));
    generating.child.kill("SIGKILL");
    expect(await generating.ended).toBe("SIGKILL");

    const last = await group.start({ cacheDir, settings: showAll });
    expect(await ask(last)).not.toBeNull();
    expect(await last.stop()).toBe(0);
  });

  it("makes a damaged packed file again", async () => {
    const cacheDir = path.join(group.cacheDir, "damaged");
    const first = await group.start({ cacheDir, settings: showAll });
    const before = await ask(first);
    await first.stop();
    const [name] = readdirSync(cacheDir);
    const file = path.join(cacheDir, name!);
    const whole = readFileSync(file);
    writeFileSync(file, whole.subarray(0, whole.length >> 1));
    const second = await group.start({ cacheDir, settings: showAll });
    expect((await ask(second))?.insertText).toBe(before?.insertText);
    await second.stop();
    expect(readFileSync(file).length).toBe(whole.length);
  });
});

describe("a model that cannot be loaded", () => {
  it("is named in one error with something to do, and other settings recover", async () => {
    const missing = path.join(group.cacheDir, "no such model");
    let model = missing;
    const server = await group.start({ configuration: () => ({ ...showAll, model: { path: model } }) });
    const status = await server.status(({ state }) => state === "error");
    expect(status).toMatchObject({ action: "selectModel", message: expect.stringContaining(missing) });
    expect(await ask(server)).toBeNull();
    expect((await server.lastTrace())?.outcome).toMatchObject({ kind: "empty", reason: "engineFailed" });
    expect(server.logs.filter((line) => line.includes("could not be loaded"))).toHaveLength(1);

    model = "";
    const seen = server.statuses.length;
    await server.connection.sendNotification("workspace/didChangeConfiguration", { settings: null });
    await server.status(({ state }) => state === "ready", seen);
    expect(await server.complete(uri, cursor)).not.toBeNull();
    expect(await server.stop()).toBe(0);
  });

  it("is told apart by what is wrong with it", async () => {
    const directory = path.join(group.cacheDir, "broken model");
    mkdirSync(directory);
    writeFileSync(path.join(directory, "config.json"), "{ not json");
    const server = await group.start({ settings: { model: { path: directory } } });
    const status = await server.status(({ state }) => state === "error");
    expect(status.message).toContain(path.join(directory, "config.json"));
    expect(await ask(server)).toBeNull();
    await server.stop();
  });

  it("can be loaded again by restarting the engine", async () => {
    const directory = path.join(group.cacheDir, "late model");
    const server = await group.start({ settings: { ...showAll, model: { path: directory } } });
    await server.status(({ state }) => state === "error");
    const seen = server.statuses.length;
    await server.connection.sendRequest(restartEngineRequest.method);
    await server.status(({ state }) => state === "loading", seen);
    await server.status(({ state }) => state === "error", seen);
    await server.stop();
  });
});

describe("settings", () => {
  it("are asked for each document, and asked again when they change", async () => {
    const asked: (string | undefined)[] = [];
    let enabled = false;
    const server = await group.start({
      configuration: (scope) => {
        asked.push(scope);
        return { completion: { minConfidence: 0, enabled: enabled || scope !== uri } };
      },
    });
    await server.ready();
    expect(await ask(server)).toBeNull();
    expect((await server.lastTrace())?.outcome).toMatchObject({ reason: "disabled" });
    expect(asked).toEqual([undefined, uri]);
    enabled = true;
    await server.connection.sendNotification("workspace/didChangeConfiguration", { settings: null });
    expect(await server.complete(uri, cursor)).not.toBeNull();
    expect(asked.filter((scope) => scope === uri)).toHaveLength(2);
    await server.stop();
  });

  it("keep the model unloaded until it is needed", async () => {
    const server = await group.start({ settings: { ...showAll, engine: { start: "firstRequest" } } });
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(server.statuses.map(({ state }) => state)).toEqual(["starting"]);
    expect(await ask(server)).not.toBeNull();
    expect(server.statuses.some(({ state }) => state === "loading")).toBe(true);
    await server.stop();
  });

  it("that are wrong cost only themselves and are named in the log", async () => {
    const settings = { completion: { minConfidence: 0, maxLines: -3 } };
    const server = await group.start({ settings });
    expect(await ask(server)).not.toBeNull();
    expect(server.logs.join("\n")).toMatch(/pipo\.completion\.maxLines.*default/);
    await server.stop();
  });
});

it("loads the model again on request and goes on", async () => {
  const server = await group.start({ settings: showAll });
  const before = await ask(server);
  const seen = server.statuses.length;
  await server.connection.sendRequest(restartEngineRequest.method);
  await server.status(({ state }) => state === "ready", seen);
  expect((await server.complete(uri, cursor))?.insertText).toBe(before?.insertText);
  expect((await server.lastTrace())?.outcome).toMatchObject({ source: "model" });
  await server.stop();
});
