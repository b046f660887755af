import { setTimeout as sleep } from "node:timers/promises";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { GenerateRequest, LoadProgress, NativeEngine } from "../../server/src/engine/addon.js";
import { greedy, loadEngine } from "../../server/src/engine/engine.js";
import { writeRandomCheckpoint } from "../support/randomCheckpoint.js";

let directory: string;
let engine: NativeEngine;

beforeAll(async () => {
  directory = mkdtempSync(path.join(tmpdir(), "pipo-test-"));
  writeRandomCheckpoint(directory);
  engine = (await loadEngine(directory, { dtype: "int8", threads: 2 })).native;
});
afterAll(async () => {
  await engine?.close();
  rmSync(directory, { recursive: true, force: true });
});

/** The longest time that the event loop did not turn while `work` ran, and how long `work` took. */
async function longestPause(work: () => Promise<unknown>): Promise<{ pauseMs: number; totalMs: number }> {
  let last = performance.now();
  let pauseMs = 0;
  const turn = () => {
    const now = performance.now();
    pauseMs = Math.max(pauseMs, now - last);
    last = now;
  };
  const timer = setInterval(turn, 1);
  const started = last;
  await work();
  turn();
  clearInterval(timer);
  return { pauseMs, totalMs: performance.now() - started };
}

function request(promptTokens: number, maxNewTokens: number): GenerateRequest {
  const promptIds = Int32Array.from({ length: promptTokens }, (_, i) => 1 + ((i * 7919) % 16000));
  return { mode: "pair", promptIds, maxNewTokens, threshold: -1, sampling: greedy, stopIds: [] };
}

test("loading leaves the event loop free and reports rising progress", async () => {
  const reports: LoadProgress[] = [];
  let loaded: NativeEngine | undefined;
  const { pauseMs, totalMs } = await longestPause(async () => {
    loaded = (await loadEngine(directory, { dtype: "f32", threads: 1 }, (p) => reports.push(p))).native;
  });
  await loaded!.close();
  expect(totalMs).toBeGreaterThan(50);
  expect(pauseMs).toBeLessThan(Math.max(40, totalMs / 3));
  expect(reports.length).toBeGreaterThan(3);
  expect(reports[0]!.stage).toBe("checking");
  expect(reports.at(-1)).toEqual({ stage: "ready", fraction: 1 });
  const fractions = reports.map((r) => r.fraction);
  expect(fractions).toEqual([...fractions].sort((a, b) => a - b));
});

test("prefill and decoding leave the event loop free", async () => {
  const session = engine.createSession({ maxPositions: 8192 });
  const { pauseMs, totalMs } = await longestPause(() => session.generate(request(3000, 150), () => undefined));
  session.close();
  expect(totalMs).toBeGreaterThan(200);
  expect(pauseMs).toBeLessThan(Math.max(40, totalMs / 4));
});

test("cancelling takes effect within one decode step", async () => {
  const session = engine.createSession({ maxPositions: 8192 });
  let delivered = 0;
  const running = session.generate(request(16, 8000), () => {
    if (++delivered === 10) session.cancel();
  });
  const { stopReason, stats } = await running;
  session.close();
  expect(stopReason).toBe("cancelled");
  // The step that was being computed meanwhile is still delivered: steps always add up to the result.
  expect(stats.steps).toBe(delivered);
  expect(delivered).toBeLessThanOrEqual(11);
});

test("cancelling takes effect within a prefill", async () => {
  const session = engine.createSession({ maxPositions: 8192 });
  const full = await session.generate(request(6_000, 1));
  session.reset();
  const running = session.generate(request(6_000, 1));
  await sleep(full.stats.totalMs / 10);
  session.cancel();
  const cancelled = await running;
  session.close();
  expect(cancelled.stopReason).toBe("cancelled");
  expect(cancelled.stats.steps).toBe(0);
  expect(cancelled.stats.totalMs).toBeLessThan(full.stats.totalMs / 2);
});

test("libuv's pool stays free for others while many sessions generate", async () => {
  const sessions = Array.from({ length: 6 }, () => engine.createSession({ maxPositions: 4096 }));
  const running = sessions.map((s) => s.generate(request(16, 4000)));
  const started = performance.now();
  await import("node:fs/promises").then((fs) => fs.stat(directory));
  expect(performance.now() - started).toBeLessThan(1000);
  for (const session of sessions) session.cancel();
  for (const { stopReason } of await Promise.all(running)) expect(stopReason).toBe("cancelled");
  for (const session of sessions) session.close();
});
