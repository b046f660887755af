import { cpSync, readFileSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { beforeAll, describe, expect, test } from "vitest";
import { loadAddon } from "../../server/src/engine/load.js";
import { pipo } from "../support/commandLine.js";
import { copyOfGolden, golden, temporaryDirectory } from "../support/modelFiles.js";
import { writeTokenizer } from "../support/tokenizerFiles.js";

beforeAll(() => void loadAddon());

async function json(...args: string[]): Promise<Record<string, unknown>> {
  const { exitCode, stdout, stderr } = await pipo(...args, "--json");
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
  return JSON.parse(stdout) as Record<string, unknown>;
}

function modelWithTokenizer(): string {
  const directory = temporaryDirectory();
  cpSync(golden("tiny-08b"), directory, { recursive: true });
  writeTokenizer(directory);
  return directory;
}

describe("inspect", () => {
  type Scored = [number, number][];
  interface Recorded {
    inspect: [
      { ids: number[]; pairs: { index: number; first: Scored; second: Scored | null; confidence: number | null }[] },
      { ids: number[]; positions: { index: number; top: Scored }[] },
    ];
  }
  const recorded = (name: string) =>
    JSON.parse(readFileSync(path.join(golden(name), "golden.json"), "utf8")) as Recorded;
  const ids = (scored: Scored) => scored.map(([id]) => id);

  test("prints pairs as they were recorded", async () => {
    const [wanted] = recorded("tiny-lora").inspect;
    const printed = (await json(
      "inspect",
      "--model",
      golden("tiny-lora/base"),
      "--adapter",
      golden("tiny-lora/adapter"),
      "--ids",
      wanted.ids.join(),
    )) as never as {
      mode: string;
      pairs: Recorded["inspect"][0]["pairs"];
    };
    expect(printed.mode).toBe("pair");
    expect(printed.pairs.map((p) => [p.index, ids(p.first), p.second && ids(p.second)])).toEqual(
      wanted.pairs.map((p) => [p.index, ids(p.first), p.second && ids(p.second)]),
    );
    printed.pairs.forEach(({ first, confidence }, i) => {
      expect(first[0]![1]).toBeCloseTo(wanted.pairs[i]!.first[0]![1], 3);
      if (confidence !== null) expect(confidence).toBeCloseTo(wanted.pairs[i]!.confidence!, 4);
    });
  });

  test("prints positions of a plain checkpoint", async () => {
    const wanted = recorded("tiny-plain").inspect[0] as never as Recorded["inspect"][1];
    const printed = (await json(
      "inspect",
      "--model",
      golden("tiny-plain"),
      "--ids",
      wanted.ids.join(),
      "--dtype",
      "f32",
    )) as never as {
      mode: string;
      positions: Recorded["inspect"][1]["positions"];
    };
    expect(printed.mode).toBe("plain");
    expect(printed.positions.map((p) => [p.index, ids(p.top)])).toEqual(
      wanted.positions.map((p) => [p.index, ids(p.top)]),
    );
  });

  test("reads well without --json", async () => {
    const { stdout } = await pipo("inspect", "--model", golden("tiny-08b"), "--ids", "1,2,3", "--top", "2");
    expect(stdout).toMatch(
      /^pair 0\n {2}first {7}\d+ -?\d+\.\d{4} {2}\d+ -?\d+\.\d{4}\n {2}second .*\n {2}confidence {2}0\.\d{6}\npair 1\n {2}first .*\n$/,
    );
  });
});

describe("generate", () => {
  const flags = ["generate", "--no-cache", "--dtype", "f32", "--model"];

  test("with --json gives ids, steps and the statistics", async () => {
    const printed = await json(
      ...flags,
      golden("tiny-08b"),
      "--ids",
      "5,9,13,21",
      "--max-tokens",
      "20",
      "--threshold",
      "0",
    );
    expect(printed).toMatchObject({
      mode: "pair",
      threshold: 0,
      steps: 10,
      tokens: 20,
      accepted: 10,
      gated: 0,
      tokensPerStep: 2,
      acceptanceRate: 1,
    });
    expect(printed["ids"]).toHaveLength(20);
    expect(printed["stepDetails"]).toHaveLength(10);
    expect(printed["ttftMs"]).toBeGreaterThan(0);
    expect(printed["tpotMs"]).toBeGreaterThan(0);
  });

  test("--pre-gate skips drafts, the card's threshold does without it", async () => {
    const directory = copyOfGolden("tiny-pregate");
    const ids = ["--ids", "5,9,13,21", "--max-tokens", "40", "--threshold", "0"];
    const off = await json(...flags, directory, ...ids);
    expect(off).toMatchObject({ preGateThreshold: 0, draftsSkipped: 0 });
    const skipping = await json(...flags, directory, ...ids, "--pre-gate", "0.5");
    expect(skipping["preGateThreshold"]).toBe(0.5);
    expect(skipping["draftsSkipped"]).toBeGreaterThan(0);
    expect(skipping["steps"]).toBeGreaterThan(off["steps"] as number);
    writeFileSync(path.join(directory, "pipo.json"), JSON.stringify({ name: "x", preGateThreshold: 0.5 }));
    expect((await json(...flags, directory, ...ids))["ids"]).toEqual(skipping["ids"]);
    const { exitCode, stderr } = await pipo(...flags, golden("tiny-08b"), ...ids, "--pre-gate", "0.5");
    expect({ exitCode, stderr }).toEqual({ exitCode: 2, stderr: expect.stringContaining("has no pre-gate") });
  });

  test("one token per step in plain mode and with a closed gate", async () => {
    const plain = await json(...flags, golden("tiny-08b"), "--ids", "5,9", "--max-tokens", "6", "--mode", "plain");
    const gated = await json(...flags, golden("tiny-08b"), "--ids", "5,9", "--max-tokens", "6", "--threshold", "1");
    expect([plain["tokensPerStep"], gated["tokensPerStep"]]).toEqual([1, 1]);
  });

  test("equal seeds draw equally, others do not", async () => {
    const draw = async (seed: string) =>
      (
        await json(
          ...flags,
          golden("tiny-08b"),
          "--ids",
          "5,9",
          "--max-tokens",
          "30",
          "--temperature",
          "1.5",
          "--seed",
          seed,
        )
      )["ids"];
    const [a, again, b] = [await draw("1"), await draw("1"), await draw("2")];
    expect(again).toEqual(a);
    expect(b).not.toEqual(a);
  });

  test("streams text to stdout and remarks to stderr", async () => {
    const model = modelWithTokenizer();
    // Random weights would soon say that the text ends.
    writeFileSync(path.join(model, "pipo.json"), '{"name": "endless", "padTokenId": 288, "stopTokenIds": []}');
    const { exitCode, stdout, stderr } = await pipo(...flags, model, "--prompt", "return ", "--max-tokens", "12");
    const { text } = await json(...flags, model, "--prompt", "return ", "--max-tokens", "12");
    expect(exitCode).toBe(0);
    expect(stdout.trimEnd()).toBe((text as string).trimEnd());
    expect(stderr).toMatch(/^\[12 tokens in \d+ steps .*ended by maxNewTokens\]\n$/);
  });

  test("Ctrl+C ends it in good order, with what was written so far", async () => {
    const before = process.listenerCount("SIGINT");
    const running = json(...flags, golden("tiny-08b"), "--ids", "5,9", "--max-tokens", "8000", "--threshold", "0");
    while (process.listenerCount("SIGINT") === before) await nextTurn();
    process.emit("SIGINT");
    const { stopReason, ids, tokens } = await running;
    expect(stopReason).toBe("cancelled");
    expect(ids).toHaveLength(tokens as number);
    expect(process.listenerCount("SIGINT")).toBe(before);
  });

  test("a text needs a tokenizer", async () => {
    const { exitCode, stderr } = await pipo(...flags, golden("tiny-08b"), "--prompt", "a");
    expect([exitCode, stderr]).toEqual([1, expect.stringContaining("tokenizer.json does not exist")]);
  });

  test("ids beyond the vocabulary are named", async () => {
    const { exitCode, stderr } = await pipo(...flags, golden("tiny-08b"), "--ids", "5,4000");
    expect([exitCode, stderr]).toEqual([1, expect.stringMatching(/^pipo: .*4000.*\n$/)]);
  });
});

test("pack writes a file that is mapped next time", async () => {
  const output = path.join(temporaryDirectory(), "tiny.pipo");
  const first = await pipo("pack", "--model", golden("tiny-08b"), "--dtype", "int4", "--output", output);
  expect(first).toMatchObject({
    exitCode: 0,
    stderr: "",
    stdout: expect.stringMatching(/tiny\.pipo written: tiny-08b, int4/),
  });
  expect(statSync(output).size).toBeGreaterThan(100_000);
  const second = await pipo("pack", "--model", golden("tiny-08b"), "--dtype", "int4", "--output", output);
  expect(second.stdout).toContain("is up to date");
  const blocked = await pipo("pack", "--model", golden("tiny-08b"), "--output", path.join(output, "inside"));
  expect(blocked).toMatchObject({ exitCode: 1, stdout: "", stderr: expect.stringContaining("was not written") });
});

test("a device that was asked for and cannot be used is an error with the way out", async ({ skip }) => {
  if ((await loadAddon().cudaInfo()).device) skip("there is a device");
  const { exitCode, stderr } = await pipo("generate", "--model", golden("tiny-08b"), "--ids", "1,2", "--device", "cuda");
  expect(exitCode).toBe(1);
  expect(stderr).toMatch(/^pipo: CUDA cannot be used: .+\. Set pipo\.engine\.device .* --device\) to "auto" or "cpu"/);
});

test("info shows the machine", async () => {
  expect(await json("info")).toMatchObject({
    cores: expect.any(Number),
    kernels: expect.arrayContaining(["reference"]),
    node: process.version,
  });
  expect((await pipo("info")).stdout).toMatch(/^pipo {7}.*\nprocessor .*\nmemory .*\n(?:reads .*\n)?kernels .*reference\ncuda {7}\S/);
});

describe("complete", () => {
  test("answers with a suggestion or a reason, and statistics", async () => {
    const file = path.join(temporaryDirectory(), "a.ts");
    writeFileSync(file, "function add(a, b) {\r\n  return \r\n}\r\n");
    const printed = await json(
      "complete",
      `${file}:2:10`,
      "--no-cache",
      "--model",
      modelWithTokenizer(),
      "--min-confidence",
      "0",
      "--threshold",
      "0",
    );
    expect(printed).toMatchObject({ line: 2, column: 10, mode: "pair", acceptanceRate: expect.any(Number) });
    expect(printed["tokensPerStep"]).toBeGreaterThan(1);
    expect(typeof printed["text"] === "string" || typeof printed["reason"] === "string").toBe(true);
  });

  test("--max-tokens bounds what is written", async () => {
    const file = path.join(temporaryDirectory(), "a.py");
    writeFileSync(file, "def add(a, b):\n    return ");
    const printed = await json(
      "complete",
      `${file}:2:12`,
      "--no-cache",
      "--model",
      modelWithTokenizer(),
      "--min-confidence",
      "0",
      "--max-tokens",
      "3",
    );
    expect(printed["tokens"]).toBeLessThanOrEqual(3);
  });
});
