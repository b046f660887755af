import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type {
  EngineSession,
  GenerateRequest,
  LoadOptions,
  ModelDescription,
  NativeEngine,
  Step,
} from "../../server/src/engine/addon.js";
import { greedy, loadEngine } from "../../server/src/engine/engine.js";
import { loadAddon } from "../../server/src/engine/load.js";
import { describeModel } from "../support/described.js";
import { golden } from "../support/modelFiles.js";

let engine: NativeEngine;

beforeAll(async () => {
  engine = (await loadEngine(golden("tiny-08b"), { dtype: "f32", threads: 2 })).native;
});
afterAll(() => engine?.close());

function request(changes: Partial<GenerateRequest> = {}): GenerateRequest {
  return {
    mode: "pair",
    promptIds: Int32Array.of(5, 9, 13, 21),
    maxNewTokens: 12,
    threshold: 0,
    sampling: greedy,
    stopIds: [],
    ...changes,
  };
}

async function withSession<T>(work: (session: EngineSession) => Promise<T>): Promise<T> {
  const session = engine.createSession({ maxPositions: 2048 });
  try {
    return await work(session);
  } finally {
    session.close();
  }
}

test("the engine describes itself", () => {
  expect(engine.info).toMatchObject({
    name: "tiny-08b",
    dtype: "f32",
    threads: 2,
    modes: ["pair", "plain"],
    fromPackedFile: false,
  });
  expect(engine.info.parameters).toBeGreaterThan(200_000);
  expect(engine.info.bytesPerStep.backbone).toBeGreaterThan(0);
  expect(engine.info.packedFileNote).toBeUndefined();
});

test("the host describes itself", () => {
  const host = loadAddon().hostInfo();
  expect(host.kernels.at(-1)).toBe("reference");
  expect(host.cores).toBeGreaterThan(0);
  expect(host.totalMemory).toBeGreaterThan(host.availableMemory);
  expect(host.version).toMatch(/^\d+\.\d+\.\d+$/);
});

test("read bandwidth is measured", async () => {
  expect(await loadAddon().measureReadBandwidth(32 * 1024 * 1024, 1, 2)).toBeGreaterThan(1e8);
});

test("steps arrive in order and add up to the result", async () => {
  const steps: Step[] = [];
  const result = await withSession((s) => s.generate(request({ logprobs: true }), (step) => void steps.push(step)));
  expect(steps.flatMap((s) => (s.second === null ? [s.first] : [s.first, s.second]))).toEqual([...result.tokens]);
  expect(result.stats).toMatchObject({
    promptTokens: 4,
    steps: steps.length,
    tokens: 12,
    accepted: steps.length,
    gated: 0,
    draftsSkipped: 0,
  });
  expect(result.stopReason).toBe("maxNewTokens");
  for (const step of steps) {
    expect(step.firstLogprob).toBeLessThanOrEqual(0);
    expect(step.secondLogprob).toBeLessThanOrEqual(0);
    expect(step.confidence).toBeGreaterThanOrEqual(0);
    expect(step.doneAtMs).toBeGreaterThanOrEqual(step.firstAtMs);
  }
});

test("what was not computed is null", async () => {
  const steps: Step[] = [];
  await withSession((s) => s.generate(request({ threshold: 1 }), (step) => void steps.push(step)));
  expect(steps).toHaveLength(12);
  for (const step of steps)
    expect(step).toMatchObject({ second: null, confidence: null, firstLogprob: null, secondLogprob: null });
});

test.each(["pair", "plain"] as const)("in %s mode no stop id comes before the tokens that were asked for", async (mode) => {
  const stopIds = [...(await withSession((s) => s.generate(request({ mode })))).tokens];
  const early = await withSession((s) => s.generate(request({ mode, stopIds })));
  expect(early.tokens).toHaveLength(1);
  const late = await withSession((s) => s.generate(request({ mode, stopIds, minNewTokens: 5 })));
  expect(late.tokens.length).toBeGreaterThanOrEqual(6);
  expect([...late.tokens].slice(0, 5).some((id) => stopIds.includes(id))).toBe(false);
});

test("two sessions at once give what each gives alone", async () => {
  const a = request({ promptIds: Int32Array.of(1, 2, 3), maxNewTokens: 200 });
  const b = request({
    promptIds: Int32Array.of(4, 5, 6, 7),
    maxNewTokens: 200,
    sampling: { ...greedy, temperature: 1, seed: 7 },
  });
  const alone = [await withSession((s) => s.generate(a)), await withSession((s) => s.generate(b))];
  const together = await Promise.all([withSession((s) => s.generate(a)), withSession((s) => s.generate(b))]);
  expect(together.map((r) => r.tokens)).toEqual(alone.map((r) => r.tokens));
});

test("a longer prompt extends what the session has", async () => {
  await withSession(async (session) => {
    await session.generate(request({ promptIds: Int32Array.from({ length: 64 }, (_, i) => i), maxNewTokens: 2 }));
    const { stats } = await session.generate(request({ promptIds: Int32Array.from({ length: 80 }, (_, i) => i) }));
    expect(stats.cachedPositions).toBeGreaterThan(0);
    expect(stats.cachedPositions + stats.extendPositions).toBe(40);
  });
});

test("false from the listener stops, and nothing more is delivered", async () => {
  const steps: Step[] = [];
  const result = await withSession((s) =>
    s.generate(request({ maxNewTokens: 2000 }), (step) => {
      steps.push(step);
      return steps.length < 3;
    }),
  );
  expect(result.stopReason).toBe("listenerStopped");
  expect(steps).toHaveLength(3);
});

test("an error in the listener rejects the request and leaves the session usable", async () => {
  await withSession(async (session) => {
    const failure = new Error("listener failed");
    await expect(
      session.generate(request({ maxNewTokens: 2000 }), () => {
        throw failure;
      }),
    ).rejects.toBe(failure);
    expect((await session.generate(request())).tokens).toHaveLength(12);
  });
});

describe("one request at a time", () => {
  test("a second one is refused as busy, the first one goes on", async () => {
    await withSession(async (session) => {
      const first = session.generate(request({ maxNewTokens: 500 }));
      await expect(session.generate(request())).rejects.toMatchObject({ code: "busy" });
      await expect(session.inspect(Int32Array.of(1, 2), "pair", 8)).rejects.toMatchObject({ code: "busy" });
      expect(() => session.reset()).toThrow(expect.objectContaining({ code: "busy" }));
      expect((await first).tokens).toHaveLength(500);
    });
  });

  test("cancelling at once ends it early, and not the next one", async () => {
    await withSession(async (session) => {
      const running = session.generate(request({ maxNewTokens: 2000 }));
      session.cancel();
      const { stopReason, stats } = await running;
      expect(stopReason).toBe("cancelled");
      expect(stats.tokens).toBeLessThan(1000);
      session.cancel();
      expect((await session.generate(request())).stopReason).toBe("maxNewTokens");
    });
  });

  test("a listener may start the next request of another session", async () => {
    await withSession(async (other) => {
      let inner: Promise<unknown> | undefined;
      await withSession((s) => s.generate(request(), () => void (inner ??= other.generate(request()))));
      expect(await inner).toMatchObject({ stopReason: "maxNewTokens" });
    });
  });
});

describe("closing", () => {
  test("a closed session refuses with closed", async () => {
    const session = engine.createSession({ maxPositions: 16 });
    session.close();
    session.close();
    session.cancel();
    await expect(session.generate(request())).rejects.toMatchObject({ code: "closed" });
    await expect(session.inspect(Int32Array.of(1), "pair", 8)).rejects.toMatchObject({ code: "closed" });
    expect(() => session.reset()).toThrow(expect.objectContaining({ code: "closed" }));
  });

  test("closing a running session cancels it", async () => {
    const session = engine.createSession({ maxPositions: 4096 });
    const running = session.generate(request({ maxNewTokens: 4000 }));
    session.close();
    expect((await running).stopReason).toBe("cancelled");
  });

  test("closing the engine ends everything that runs on it", async () => {
    const { native } = await loadEngine(golden("tiny-08b"), { dtype: "f32", threads: 1 });
    const sessions = [1, 2, 3].map(() => native.createSession({ maxPositions: 4096 }));
    const running = sessions.map((s) => s.generate(request({ maxNewTokens: 8000 })));
    await Promise.all([native.close(), native.close()]);
    for (const result of await Promise.all(running)) expect(result.stopReason).toBe("engineClosed");
    await expect(sessions[0]!.generate(request())).rejects.toMatchObject({ code: "closed" });
    expect(() => native.createSession({ maxPositions: 16 })).toThrow(expect.objectContaining({ code: "closed" }));
    await native.close();
    sessions[0]!.close();
  });
});

describe("requests that make no sense are refused in words", () => {
  const cases: readonly [what: string, change: Record<string, unknown>, message: RegExp][] = [
    ["mode", { mode: "triple" }, /request\.mode must be one of "pair", "plain", but is "triple"/],
    ["ids as a list", { promptIds: [1, 2] }, /request\.promptIds must be an Int32Array, but is an array/],
    [
      "ids of another width",
      { promptIds: new Float64Array(2) },
      /promptIds must be an Int32Array, but is another typed array/,
    ],
    ["no tokens", { maxNewTokens: 0 }, /request\.maxNewTokens must be an integer from 1 to \d+, but is 0/],
    ["half tokens", { maxNewTokens: 1.5 }, /maxNewTokens.*but is 1\.5/],
    ["no threshold", { threshold: undefined }, /request\.threshold must be a number, but is missing/],
    ["NaN", { threshold: NaN }, /request\.threshold must be a finite number/],
    ["a pre-gate in words", { preGateThreshold: "on" }, /request\.preGateThreshold must be a number, but is "on"/],
    [
      "temperature in words",
      { sampling: { ...greedy, temperature: "hot" } },
      /request\.sampling\.temperature must be a number, but is "hot"/,
    ],
    ["negative seed", { sampling: { ...greedy, seed: -1 } }, /request\.sampling\.seed must be an integer/],
    ["no sampling", { sampling: null }, /request\.sampling must be an object, but is null/],
    ["stop ids", { stopIds: [1, "x"] }, /request\.stopIds\[1\] must be an integer .* but is "x"/],
    ["mask", { allowedIds: [1] }, /request\.allowedIds must be a Uint8Array/],
    ["draft context", { draftContext: "all" }, /request\.draftContext must be one of/],
    ["logprobs", { logprobs: "yes" }, /request\.logprobs must be true or false/],
    ["ids beyond the vocabulary", { promptIds: Int32Array.of(1, 100_000) }, /100000/],
    ["negative ids", { promptIds: Int32Array.of(-1) }, /-1/],
    ["an empty prompt", { promptIds: new Int32Array(0) }, /./],
  ];
  test.each(cases)("%s", async (_, change, message) => {
    await withSession(async (session) => {
      await expect(session.generate(request(change as Partial<GenerateRequest>))).rejects.toMatchObject({
        code: "badRequest",
        message: expect.stringMatching(message),
      });
      expect((await session.generate(request())).stopReason).toBe("maxNewTokens");
    });
  });

  test.each([undefined, null, 3, "text"])("request %j", async (value) => {
    await withSession(async (session) => {
      await expect(session.generate(value as never)).rejects.toMatchObject({
        code: "badRequest",
        message: expect.stringMatching(/^request must be an object/),
      });
    });
  });

  test("a listener that is no function", async () => {
    await withSession(async (session) => {
      await expect(session.generate(request(), "x" as never)).rejects.toMatchObject({
        code: "badRequest",
        message: expect.stringMatching(/^onStep must be a function/),
      });
    });
  });

  test.each([0, -1, 1.5, "many", undefined, 1e9])("a session of %j positions", (maxPositions) => {
    expect(() => engine.createSession({ maxPositions: maxPositions as number })).toThrow(
      expect.objectContaining({ code: "badRequest" }),
    );
  });

  test("a prompt longer than the session", async () => {
    const session = engine.createSession({ maxPositions: 4 });
    await expect(session.generate(request({ promptIds: new Int32Array(100).fill(1) }))).rejects.toMatchObject({
      code: "badRequest",
    });
    session.close();
  });

  test("methods away from their object are an error, not a crash", () => {
    const { createSession } = engine;
    expect(() => createSession({ maxPositions: 1 })).toThrow();
    const session = engine.createSession({ maxPositions: 4 });
    expect(() => (engine.close as unknown as (this: unknown) => void).call(session)).toThrow();
    expect(() => new (session.constructor as new () => unknown)()).toThrow(
      expect.objectContaining({ code: "badRequest" }),
    );
    session.close();
  });
});

describe("loads that make no sense are refused in words", () => {
  const options: LoadOptions = { dtype: "f32", groupSize: 32, threads: 1 };

  async function refused(model: unknown, changes: Record<string, unknown> = {}) {
    const { description } = await describeModel(golden("tiny-08b"));
    const load = loadAddon().load(
      (model ?? description) as ModelDescription,
      { ...options, ...changes } as LoadOptions,
    );
    return expect(load).rejects;
  }

  test.each([
    ["dtype", { dtype: "int3" }, /options\.dtype must be one of .*but is "int3"/],
    ["group size", { groupSize: 48 }, /options\.groupSize must be 32 or 64, but is 48/],
    ["threads", { threads: -1 }, /options\.threads/],
    ["packed file", { packedFile: 3 }, /options\.packedFile must be a string/],
  ])("%s", async (_, changes, message) => {
    await (
      await refused(undefined, changes)
    ).toMatchObject({ code: "badRequest", message: expect.stringMatching(message) });
  });

  test("kernels that are not there", async () => {
    await (
      await refused(undefined, { kernels: "abacus" })
    ).toMatchObject({ code: "unsupported", message: expect.stringContaining("abacus") });
  });

  test("a description with holes", async () => {
    const { description } = await describeModel(golden("tiny-08b"));
    await (
      await refused({})
    ).toMatchObject({ code: "badRequest", message: expect.stringMatching(/^model\.name must be a string/) });
    const tensors = description.tensors.map((t, i) => (i === 2 ? { ...t, dtype: "I8" } : t));
    await (
      await refused({ ...description, tensors })
    ).toMatchObject({
      code: "badRequest",
      message: expect.stringMatching(/^model\.tensors\[2\]\.dtype must be one of/),
    });
  });
});
