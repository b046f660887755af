import { readFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { DecodeMode, ScoredId } from "../../server/src/engine/addon.js";
import { greedy, loadEngine, type LoadedEngine } from "../../server/src/engine/engine.js";
import { golden, goldenGgufs, goldenModels } from "../support/modelFiles.js";

type Scored = readonly [id: number, logit: number][];
interface Golden {
  readonly inspect: readonly (
    | {
        readonly mode: "pair";
        readonly ids: number[];
        readonly pairs: readonly { index: number; first: Scored; second: Scored | null; confidence: number | null; preGate?: number }[];
      }
    | { readonly mode: "plain"; readonly ids: number[]; readonly positions: readonly { index: number; top: Scored }[] }
  )[];
  readonly decode: readonly {
    readonly mode: DecodeMode;
    readonly prompt: number[];
    readonly threshold?: number;
    readonly preGateThreshold?: number;
    /** Drafts that the pre-gate spares. */
    readonly skipped?: number;
    readonly stopIds?: number[];
    readonly slots?: number[];
    readonly tokens: number[];
    readonly confidences?: (number | null)[];
    readonly stopped?: boolean;
  }[];
}

const relativeTolerance = 1e-4;
/** Each decode was recorded for so many steps, or up to a stop id. */
const recordedSteps = 24;

const models = [
  ...goldenModels.map((model) => ({ ...model, record: path.join(golden(model.name), "golden.json") })),
  ...goldenGgufs.map((name) => ({ name, directory: golden(`${name}.gguf`), record: golden(`${name}.json`) })),
];

describe.each(models)("$name in f32", ({ directory, record, ...rest }) => {
  const recorded = JSON.parse(readFileSync(record, "utf8")) as Golden;
  let loaded: LoadedEngine;

  beforeAll(async () => {
    const adapter = "adapter" in rest ? { adapter: rest.adapter } : {};
    loaded = await loadEngine(directory, { dtype: "f32", threads: 2, ...adapter });
  });
  afterAll(() => loaded?.native.close());

  test.each(recorded.inspect.map((entry, i) => [i, entry.mode, entry] as const))(
    "inspection %i (%s)",
    async (_, mode, entry) => {
      const session = loaded.native.createSession({ maxPositions: entry.ids.length });
      const positions = await session.inspect(Int32Array.from(entry.ids), mode, 8);
      session.close();
      const wanted =
        entry.mode === "pair"
          ? entry.pairs
          : entry.positions.map((p) => ({ index: p.index, first: p.top, second: null, confidence: null, preGate: undefined }));
      expect(positions.length).toBe(wanted.length);
      positions.forEach((position, i) => {
        const { index, first, second, confidence, preGate } = wanted[i]!;
        expect(position.index).toBe(index);
        expectScored(position.first, first);
        if (second === null) expect(position.second).toBeNull();
        else expectScored(position.second!, second);
        if (confidence === null) expect(position.confidence).toBeNull();
        else expect(Math.abs(position.confidence! - confidence)).toBeLessThan(relativeTolerance);
        if (preGate === undefined) expect(position.preGate).toBeNull();
        else expect(Math.abs(position.preGate! - preGate)).toBeLessThan(relativeTolerance);
      });
    },
  );

  test.each(recorded.decode.map((entry, i) => [i, entry.mode, entry] as const))(
    "decoding %i (%s)",
    async (_, mode, entry) => {
      const session = loaded.native.createSession({ maxPositions: 512 });
      const confidences: (number | null)[] = [];
      const result = await session.generate(
        {
          mode,
          promptIds: Int32Array.from(entry.prompt),
          maxNewTokens: 100,
          threshold: entry.threshold ?? -1,
          ...(entry.preGateThreshold !== undefined && { preGateThreshold: entry.preGateThreshold }),
          sampling: greedy,
          stopIds: entry.stopIds ?? [],
        },
        (step) => confidences.push(step.confidence) < recordedSteps,
      );
      session.close();
      // The engine may be one step ahead of the listener that stops it.
      expect([...result.tokens].slice(0, entry.tokens.length)).toEqual(entry.tokens);
      if (entry.slots) expect([...result.slots].slice(0, entry.slots.length)).toEqual(entry.slots);
      expect(result.stopReason).toBe(entry.stopped ? "stopId" : "listenerStopped");
      if (entry.stopped) expect(result.tokens).toHaveLength(entry.tokens.length);
      expect(result.stats.draftsSkipped).toBeGreaterThanOrEqual(entry.skipped ?? 0);
      if (entry.skipped === undefined) expect(result.stats.draftsSkipped).toBe(0);
      entry.confidences?.slice(0, confidences.length).forEach((wanted, i) => {
        if (wanted === null) expect(confidences[i]).toBeNull();
        else expect(Math.abs(confidences[i]! - wanted)).toBeLessThan(relativeTolerance);
      });
    },
  );
});

function expectScored(found: readonly ScoredId[], wanted: Scored): void {
  expect(found.map((s) => s.id)).toEqual(wanted.map(([id]) => id));
  found.forEach(({ logit }, i) => {
    const [, expected] = wanted[i]!;
    expect(Math.abs(logit - expected)).toBeLessThanOrEqual(relativeTolerance * Math.max(1, Math.abs(expected)));
  });
}
