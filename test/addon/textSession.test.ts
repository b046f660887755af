import { afterAll, beforeAll, expect, test } from "vitest";
import { mkdtempSync, rmSync, cpSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { loadModel, type LoadedModel, type TextStep } from "../../server/src/engine/engine.js";
import { copyOfGolden, golden } from "../support/modelFiles.js";
import { writeTokenizer } from "../support/tokenizerFiles.js";

let directory: string;
let model: LoadedModel;

beforeAll(async () => {
  directory = mkdtempSync(path.join(tmpdir(), "pipo-test-"));
  cpSync(golden("tiny-08b"), directory, { recursive: true });
  writeTokenizer(directory);
  model = await loadModel(directory, { dtype: "f32", threads: 1 });
});
afterAll(async () => {
  await model?.close();
  rmSync(directory, { recursive: true, force: true });
});

const promptIds = Int32Array.from(Buffer.from("return "));

test("text is that of the tokens, streamed step by step", async () => {
  const session = model.createSession();
  const steps: TextStep[] = [];
  const result = await session.generate({ promptIds, maxNewTokens: 60, stopIds: [] }, (step) => void steps.push(step));
  session.close();
  expect(result.text).toBe(model.tokenizer.detokenize(result.tokens));
  expect(result.textSteps).toEqual(steps);
  // The last character may have stayed incomplete.
  expect(result.text.startsWith(steps.map((s) => s.text).join(""))).toBe(true);
  expect(result.text.length).toBeGreaterThan(10);
});

test("the threshold of the card gates unless the request says otherwise", async () => {
  const session = model.createSession();
  const gated = await session.generate({ promptIds, maxNewTokens: 100, stopIds: [] });
  const open = await session.generate({ promptIds, maxNewTokens: 100, stopIds: [], threshold: 0 });
  session.close();
  expect(gated.stats.gated).toBeGreaterThan(0);
  expect(open.stats.gated).toBe(0);
  expect(open.stats.tokensPerStep).toBeGreaterThan(gated.stats.tokensPerStep);
});

test("a stop id ends the text without its own", async () => {
  const session = model.createSession();
  const free = await session.generate({ promptIds, maxNewTokens: 60, stopIds: [] });
  const stopId = free.tokens[20]!;
  const stopped = await session.generate({ promptIds, maxNewTokens: 60, stopIds: [stopId] });
  session.close();
  expect(stopped.stopReason).toBe("stopId");
  expect(stopped.tokens.at(-1)).toBe(stopId);
  expect(stopped.text).toBe(model.tokenizer.detokenize(stopped.tokens.subarray(0, -1)));
});

test("PAD among the stop ids does not end pair decoding at the first rejected draft", async () => {
  const session = model.createSession();
  const stopIds = [model.card.padTokenId!];
  const { stopReason, stats } = await session.generate({ promptIds, maxNewTokens: 60, stopIds });
  session.close();
  expect(stats.gated).toBeGreaterThan(1);
  expect(stopReason).toBe("maxNewTokens");
});

test("aborting cancels, before and during", async () => {
  const session = model.createSession();
  expect((await session.generate({ promptIds, maxNewTokens: 4000, signal: AbortSignal.abort() })).stopReason).toBe(
    "cancelled",
  );
  const aborter = new AbortController();
  const running = session.generate(
    { promptIds, maxNewTokens: 4000, stopIds: [], signal: aborter.signal },
    ({ step }) => {
      if (step.doneAtMs > 1) aborter.abort();
    },
  );
  expect((await running).stopReason).toBe("cancelled");
  aborter.abort();
  expect((await session.generate({ promptIds, maxNewTokens: 5, stopIds: [] })).stopReason).toBe("maxNewTokens");
  session.close();
});

test("a model without a tokenizer cannot speak, and says so", async () => {
  await expect(loadModel(copyOfGolden("tiny-08b"))).rejects.toMatchObject({
    code: "io",
    message: expect.stringContaining("tokenizer.json"),
  });
});
