import { expect, test } from "vitest";
import { LatencyWindow } from "../../../extension/src/latency";

test("percentiles are values that were measured", () => {
  const window = new LatencyWindow();
  for (const ms of [40, 10, 30, 20]) window.add(ms);
  expect([window.percentile(0), window.percentile(0.5), window.percentile(0.95)]).toEqual([10, 20, 40]);
  expect(window.last).toBe(20);
});

test("only the newest values count", () => {
  const window = new LatencyWindow(2);
  for (const ms of [1_000, 1, 2]) window.add(ms);
  expect(window.percentile(1)).toBe(2);
  expect(window.count).toBe(2);
});

test("nothing measured, nothing shown", () => {
  expect(new LatencyWindow().percentile(0.5)).toBeUndefined();
});
