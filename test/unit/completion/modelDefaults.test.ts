import { describe, expect, it } from "vitest";
import { minConfidenceFor, promptBudget, timeLimitFor } from "../../../server/src/completion/modelDefaults.js";
import { ModelSpeed } from "../../../server/src/completion/modelSpeed.js";
import { defaultSettings } from "../../../server/src/config/config.js";
import { defaultThreads } from "../../../server/src/engine/threads.js";
import { FakeModel } from "../../support/fakeEngine.js";
import { ServiceUnderTest } from "../../support/completion.js";

const stats = {
  promptTokens: 600,
  cachedPositions: 0,
  extendPositions: 600,
  steps: 11,
  tokens: 11,
  accepted: 0,
  gated: 0,
  draftsSkipped: 0,
  tokensPerStep: 1,
  ttftMs: 1_200,
  tpotMs: 20,
  prefillMs: 1_200,
  totalMs: 1_400,
};
const bytesPerStep = { backbone: 400e6, draft: 0, head: 100e6 };

describe("how fast a model is here", () => {
  it("is estimated from what a step reads, and from the memory once it was measured", () => {
    const speed = new ModelSpeed({ bytesPerStep });
    expect(speed.stepMs).toBeCloseTo(50);
    speed.setReadBandwidth(25e9);
    expect(speed.stepMs).toBeCloseTo(20);
    expect(speed.prefillPositions).toBeCloseTo(500);
  });

  it("is another memory's business on a device", () => {
    const speed = new ModelSpeed({ bytesPerStep, device: "NVIDIA H100" });
    speed.setReadBandwidth(1e9);
    expect(speed.stepMs).toBeCloseTo(1);
  });

  it("is learned from what was generated", () => {
    const speed = new ModelSpeed({ bytesPerStep });
    speed.note(stats);
    expect([speed.prefillPositions, speed.stepMs]).toEqual([500, 20]);
    speed.note({ ...stats, prefillMs: 600 });
    expect(speed.prefillPositions).toBeCloseTo(650);
  });

  it("is not learned from a few positions, nor from one step", () => {
    const speed = new ModelSpeed({ bytesPerStep });
    const before = [speed.prefillPositions, speed.stepMs];
    speed.note({ ...stats, extendPositions: 5, prefillMs: 40, steps: 1, totalMs: 1_201 });
    expect([speed.prefillPositions, speed.stepMs]).toEqual(before);
  });
});

describe("what suits a model", () => {
  const { completion } = defaultSettings;
  const family = { suffixTokens: 40 };

  it("is what the user set, then what its card recommends, then what was measured, then the usual", () => {
    expect(minConfidenceFor({ ...completion, minConfidence: 0.3 }, new FakeModel(() => "", { minConfidence: 0.8 }))).toBe(0.3);
    expect(minConfidenceFor(completion, new FakeModel(() => "", { minConfidence: 0.8 }))).toBe(0.8);
    expect(minConfidenceFor(completion, new FakeModel(() => "", { name: "Qwen2.5-Coder-0.5B" }))).toBe(0.7);
    expect(minConfidenceFor(completion, new FakeModel(() => ""))).toBe(0.5);
  });

  it("is the time of a line, within bounds", () => {
    const limit = (stepMs: number) => timeLimitFor(completion, { stepMs });
    expect([limit(0.4), limit(50), limit(400)]).toEqual([800, 1_200, 3_000]);
    expect(timeLimitFor({ ...completion, timeLimitMs: 70 }, { stepMs: 400 })).toBe(70);
  });

  it("is a prompt that is computed within 300 ms when nothing of it is known", () => {
    const budget = (prefillPositions: number, mode: "pair" | "plain") =>
      promptBudget(new FakeModel(() => ""), family, { prefillPositions }, mode);
    expect(budget(500, "plain")).toEqual({ prefixTokens: 1024, suffixTokens: 37, newTokens: 150 });
    expect(budget(500, "pair")).toEqual({ prefixTokens: 1024, suffixTokens: 40, newTokens: 300 });
    expect(budget(Number.POSITIVE_INFINITY, "plain")).toEqual({ prefixTokens: 1024, suffixTokens: 40 });
  });

  it("decides what is shown", async () => {
    const answer = () => ({ text: "value", probability: 0.7 });
    expect(await new ServiceUnderTest(answer, { minConfidence: 0.8 }).text("x = █\n")).toBe("(lowConfidence)");
    expect(await new ServiceUnderTest(answer).text("x = █\n")).toBe("value");
  });

  it("cuts the first prompt of a slow model, and only that", async () => {
    const info = { bytesPerStep: { backbone: 500e6, draft: 0, head: 0 } };
    const test = new ServiceUnderTest(() => "1", { info, modes: ["plain"] });
    const lines = "some line of code\n".repeat(100);
    await test.text(`${lines}x = █\n`);
    expect(test.model.requests[0]!.promptIds.length).toBeLessThanOrEqual(96);
    const fast = new ServiceUnderTest(() => "1", { modes: ["plain"] });
    await fast.text(`${lines}x = █\n`);
    expect(fast.model.requests[0]!.promptIds.length).toBeGreaterThan(500);
  });
});

it("computes on both cores of two, and leaves one of more to the editor", () => {
  expect([1, 2, 3, 4, 16].map(defaultThreads)).toEqual([1, 2, 2, 3, 15]);
  expect(defaultThreads()).toBeGreaterThan(0);
});
