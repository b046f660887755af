import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { downloadModel, type DownloadOptions, type DownloadProgress } from "../../../../server/src/models/download/download.js";
import { proxyFor } from "../../../../server/src/models/download/network.js";
import { entryOf } from "../../../support/catalogueEntries.js";
import { FakeHub, type HubBehaviour } from "../../../support/fakeHub.js";
import { temporaryDirectory } from "../../../support/modelFiles.js";

const length = 300_000;

/** A hub with a file, and a folder to download it to. */
async function scene(behaviour: HubBehaviour = {}, sent?: (bytes: Buffer) => Buffer) {
  const { bytes, entry } = entryOf(length);
  const { hub, url } = await FakeHub.start(sent?.(Buffer.from(bytes)) ?? bytes, behaviour);
  set({ HF_ENDPOINT: url, HF_TOKEN: "", HTTP_PROXY: "", HTTPS_PROXY: "", NO_PROXY: "", http_proxy: "", https_proxy: "", no_proxy: "" });
  const folder = path.join(temporaryDirectory(), "models");
  const download = (options: Partial<DownloadOptions> = {}) => downloadModel(entry, { folder, ...options });
  return { bytes, entry, hub, url, folder, download, file: path.join(folder, "tiny.gguf") };
}

/** Of a server that has ended. */
async function unusedAddress(): Promise<string> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return `http://127.0.0.1:${port}`;
}

function set(values: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(values)) vi.stubEnv(name, value);
  onTestFinished(() => void vi.unstubAllEnvs());
}

describe("a download from the hub", () => {
  test("follows the hub to the bytes, checks them, and leaves one file", async () => {
    const { bytes, hub, download, folder, file } = await scene();
    const progress: DownloadProgress[] = [];
    expect(await download({ onProgress: (one) => progress.push(one) })).toBe(file);
    expect(readFileSync(file)).toEqual(bytes);
    expect(readdirSync(folder)).toEqual(["tiny.gguf"]);
    expect(hub.asked[0]?.path).toBe("/somebody/tiny/resolve/0123abc/tiny-q4.gguf");
    expect(progress.at(0)).toMatchObject({ stage: "downloading", receivedBytes: 0, totalBytes: length });
    expect(progress.at(-1)).toMatchObject({ stage: "checking", receivedBytes: length });
    expect(progress[0]?.source).toMatch(/^the hub \(127\.0\.0\.1:\d+\)$/);
  });

  test("that is there already asks nothing", async () => {
    const { hub, download, file } = await scene();
    await download();
    hub.asked.length = 0;
    expect(await download()).toBe(file);
    expect(hub.asked).toEqual([]);
  });

  test("that breaks off goes on by itself where it was", async () => {
    const { bytes, hub, download, file } = await scene({ breakAfter: [100_000, 50_000] });
    await download();
    expect(readFileSync(file)).toEqual(bytes);
    expect(hub.seen[0]?.start).toBe(0);
    expect(hub.seen.slice(1).every(({ start }) => start > 0)).toBe(true);
    expect(hub.seen).toHaveLength(3);
  });

  test("that ends too early is not taken for the whole file", async () => {
    const { bytes, hub, download, file } = await scene({ endAfter: [100_000] });
    await download();
    expect(readFileSync(file)).toEqual(bytes);
    expect(hub.seen).toHaveLength(2);
  });

  test("that can be stopped keeps what arrived, and the next one goes on from there", async () => {
    const { bytes, hub, download, folder, file } = await scene({ slowMs: 5 });
    const aborter = new AbortController();
    const stopped = download({ signal: aborter.signal, onProgress: ({ receivedBytes }) => void (receivedBytes >= 100_000 && aborter.abort()) });
    await expect(stopped).rejects.toMatchObject({ kind: "cancelled", message: expect.stringContaining("goes on from there") });
    expect(existsSync(file)).toBe(false);
    expect(readdirSync(folder)).toEqual(["tiny.gguf.partial"]);
    const kept = statSync(`${file}.partial`).size;
    expect(kept).toBeGreaterThanOrEqual(100_000);
    await download();
    expect(hub.seen.at(-1)?.start).toBe(kept);
    expect(readFileSync(file)).toEqual(bytes);
  });

  test("with other bytes is thrown away whole", async () => {
    const { download, folder } = await scene({}, (bytes) => bytes.fill(7, 1_000, 1_010));
    await expect(download()).rejects.toMatchObject({ kind: "allSourcesFailed", message: expect.stringMatching(/Tiny could not be downloaded\. The hub .*checksum/) });
    expect(readdirSync(folder)).toEqual(["tiny.gguf.partial"]);
    expect(statSync(path.join(folder, "tiny.gguf.partial")).size).toBe(0);
  });

  test("after an attempt that left wrong bytes begins once more", async () => {
    const { bytes, hub, download, folder, file } = await scene();
    mkdirSync(folder);
    writeFileSync(`${file}.partial`, Buffer.alloc(50_000));
    await download();
    expect(hub.seen.map(({ start }) => start)).toEqual([50_000, 0]);
    expect(readFileSync(file)).toEqual(bytes);
  });

  test("after an attempt that left everything only checks it", async () => {
    const { bytes, hub, download, folder, file } = await scene();
    mkdirSync(folder);
    writeFileSync(`${file}.partial`, bytes);
    expect(await download()).toBe(file);
    expect(hub.seen).toEqual([]);
  });

  test("of another size under the same name is refused before anything is sent", async () => {
    const { hub, download } = await scene({}, (bytes) => Buffer.concat([bytes, bytes]));
    await expect(download()).rejects.toThrow(/another file under this name/);
    expect(hub.seen).toEqual([]);
  });

  test("from a server that knows no ranges is refused in words", async () => {
    const { download } = await scene({ ignoresRanges: true });
    await expect(download()).rejects.toThrow(/does not answer as a hub does/);
  });

  test.each([
    [401, /refuses access \(status 401\); HF_TOKEN can hold a token of yours/],
    [404, /does not have the file \(status 404\)/],
    [429, /asks to wait/],
    [503, /answered with status 503/],
  ])("that is answered with %i says so", async (status, words) => {
    const { download } = await scene({ status });
    await expect(download()).rejects.toThrow(words);
  });

  test("sends the token to the hub and to nobody else", async () => {
    const { hub, download } = await scene();
    set({ HF_TOKEN: "hf_secret" });
    await download();
    expect(new Set(hub.asked.map(({ authorization }) => authorization))).toEqual(new Set(["Bearer hf_secret"]));
    expect(hub.seen.map(({ authorization }) => authorization)).toEqual([undefined]);
  });

  test("names a token that is none", async () => {
    const { download } = await scene();
    set({ HF_TOKEN: "secret" });
    await expect(download()).rejects.toThrow(/HF_TOKEN is not a token of the hub/);
  });
});

describe("without a way to the hub", () => {
  test("nothing answers", async () => {
    const { download } = await scene();
    set({ HF_ENDPOINT: await unusedAddress() });
    await expect(download()).rejects.toThrow(/nothing answers at 127\.0\.0\.1:\d+/);
  });

  test("there is no such name", async () => {
    const { download } = await scene();
    set({ HF_ENDPOINT: "http://no-such-host.invalid" });
    await expect(download()).rejects.toThrow(/no-such-host\.invalid .*is there a network\?/);
  });

  test("a proxy says no", async () => {
    const { download } = await scene();
    const proxy = createServer();
    proxy.on("connect", (_request, socket) => socket.end("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"));
    await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
    onTestFinished(() => void proxy.close());
    set({ HTTP_PROXY: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}` });
    await expect(download()).rejects.toThrow(/the proxy refused to connect to 127\.0\.0\.1:\d+ \(status 407\)/);
    set({ NO_PROXY: "localhost,127.0.0.1" });
    await download();
  });
});

test("proxies are chosen as their variables say", () => {
  const environment = { hubUrl: undefined, hubToken: undefined, httpProxy: "http://a:1", httpsProxy: "b:2", noProxy: ".corp.example, other.example:8443" };
  const proxyOf = (url: string) => proxyFor(new URL(url), environment);
  expect(proxyOf("http://x.example")).toBe("http://a:1");
  expect(proxyOf("https://x.example")).toBe("http://b:2");
  expect(proxyOf("https://git.corp.example")).toBeUndefined();
  expect(proxyOf("https://corp.example")).toBeUndefined();
  expect(proxyOf("https://notcorp.example")).toBe("http://b:2");
  expect(proxyOf("https://other.example:8443")).toBeUndefined();
  expect(proxyOf("https://other.example")).toBe("http://b:2");
  expect(proxyFor(new URL("https://x.example"), { ...environment, noProxy: "*" })).toBeUndefined();
});

describe("before anything is asked", () => {
  test("there must be room on the disk", async () => {
    const { hub, download } = await scene();
    await expect(download({ freeDisk: async () => 40e6 })).rejects.toMatchObject({
      kind: "noSpace",
      message: expect.stringMatching(/too little space in .*: 50 MB are needed, 40 MB are free\. PIPO_MODELS_DIR/),
    });
    expect(hub.asked).toEqual([]);
  });

  test("there must be memory to run it, unless one insists", async () => {
    const { download } = await scene();
    await expect(download({ totalMemory: 100e6 })).rejects.toMatchObject({ kind: "tooLarge", message: expect.stringMatching(/needs 200 MB of memory, and there are 100 MB/) });
    await download({ totalMemory: 100e6, evenIfTooLarge: true });
  });

  test("the folder must be one that can be written", async () => {
    const { download } = await scene();
    const place = path.join(temporaryDirectory(), "file");
    writeFileSync(place, "");
    await expect(download({ folder: path.join(place, "models") })).rejects.toMatchObject({ kind: "folder", message: expect.stringMatching(/cannot be written .*PIPO_MODELS_DIR/) });
  });
});

describe("two windows at once", () => {
  test("fetch it once", async () => {
    const { hub, download, file } = await scene({ slowMs: 5 });
    const stages: string[] = [];
    const both = [download(), download({ onProgress: ({ stage }) => stages.push(stage) })];
    expect(await Promise.all(both)).toEqual([file, file]);
    expect(hub.seen).toHaveLength(1);
    expect(new Set(stages)).toEqual(new Set(["waiting"]));
  });

  test("let the second one stop waiting", async () => {
    const { download } = await scene({ slowMs: 20 });
    const first = download();
    const aborter = new AbortController();
    const second = download({ signal: aborter.signal, onProgress: () => aborter.abort() });
    await expect(second).rejects.toMatchObject({ kind: "cancelled" });
    await first;
  });

  test("are not held up by one that ended without cleaning up", async () => {
    const { download, folder, file } = await scene();
    mkdirSync(folder);
    writeFileSync(`${file}.lock`, "somebody");
    const longAgo = new Date(Date.now() - 60_000);
    utimesSync(`${file}.lock`, longAgo, longAgo);
    await download();
    expect(readdirSync(folder)).toEqual(["tiny.gguf"]);
  });
});
