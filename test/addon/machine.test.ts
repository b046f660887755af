import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";
import { describeMachine } from "../../server/src/engine/machine.js";
import { temporaryDirectory } from "../support/modelFiles.js";

test("the machine is described with a bandwidth that is measured, kept, and measured again when it no longer holds", async () => {
  const cache = path.join(temporaryDirectory(), "cache");
  const file = path.join(cache, "machine.json");
  const machine = await describeMachine(cache, 1);
  expect(machine).toMatchObject({ kernels: expect.any(String), threads: 1 });
  expect(machine.readBandwidth).toBeGreaterThan(1e8);
  expect(machine.availableMemory).toBeLessThanOrEqual(machine.totalMemory);

  const kept = JSON.parse(readFileSync(file, "utf8"));
  const change = (changes: object) => writeFileSync(file, JSON.stringify({ ...kept, ...changes }));
  const bandwidth = async () => (await describeMachine(cache, 1)).readBandwidth;
  change({ bytesPerSecond: 1 });
  expect(await bandwidth(), "measured a moment ago").toBe(1);
  change({ bytesPerSecond: 1, measuredAt: 0 });
  expect(await bandwidth(), "measured long ago").toBeGreaterThan(1e8);
  change({ bytesPerSecond: 1e15, measuredAt: 0 });
  expect(await bandwidth(), "the best of some days").toBe(1e15);
  change({ bytesPerSecond: 1e15, measuredAt: 0, bestAt: 0 });
  expect(await bandwidth(), "the best of long ago").toBeLessThan(1e14);
  change({ bytesPerSecond: 1, cpu: "another" });
  expect(await bandwidth(), "of another processor").toBeGreaterThan(1e8);
  writeFileSync(file, "{");
  expect(await bandwidth(), "damaged").toBeGreaterThan(1e8);
});

test("without a place to keep it, the bandwidth is measured all the same", async () => {
  const place = path.join(temporaryDirectory(), "file");
  writeFileSync(place, "");
  expect((await describeMachine(path.join(place, "cache"), 1)).readBandwidth).toBeGreaterThan(1e8);
});
