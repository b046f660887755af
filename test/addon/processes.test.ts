import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { addonFileName, loadAddon } from "../../server/src/engine/load.js";
import { describeModel } from "../support/described.js";
import { packageRoot } from "../../server/src/packageRoot.js";
import { golden, temporaryDirectory } from "../support/modelFiles.js";
import { writeRandomCheckpoint } from "../support/randomCheckpoint.js";

/** A child that takes longer hangs; the longest of them works for about two seconds on a busy machine. */
const patienceMs = 25_000;

beforeAll(() => void loadAddon());

interface Ended {
  readonly code: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
}

async function runChild(script: string, modelDirectory: string, nodeFlags: readonly string[] = []): Promise<Ended> {
  const { description } = await describeModel(modelDirectory);
  const modelFile = path.join(temporaryDirectory(), "model.json");
  writeFileSync(modelFile, JSON.stringify(description));
  const addon = path.join(packageRoot(), "dist", addonFileName);
  const file = path.join(import.meta.dirname, "children", script);
  const child = spawn(process.execPath, [...nodeFlags, file, addon, modelFile], { timeout: patienceMs });
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (chunk) => (stdout += chunk));
  child.stderr.on("data", (chunk) => (stderr += chunk));
  return new Promise((resolve) => child.on("close", (code, signal) => resolve({ code, signal, stdout, stderr })));
}

const clean = { code: 0, signal: null, stderr: "" };

describe("a process ends in good order", () => {
  test("with process.exit() while sessions generate", async () => {
    expect(await runChild("exitWhileGenerating.cjs", golden("tiny-08b"))).toMatchObject(clean);
  });

  test("with process.exit() while a model loads", async () => {
    const directory = temporaryDirectory();
    writeRandomCheckpoint(directory);
    expect(await runChild("exitWhileLoading.cjs", directory)).toMatchObject(clean);
  });

  test("by itself when nothing runs any more, though nothing was closed", async () => {
    expect(await runChild("endByItself.cjs", golden("tiny-4b"))).toEqual({ ...clean, stdout: "200" });
  });

  test("after engines and running sessions were garbage-collected", async () => {
    const wanted = Array.from({ length: 10 }, (_, i) => 100 + i).join(" ");
    expect(await runChild("collectGarbage.cjs", golden("tiny-08b"), ["--expose-gc"])).toEqual({
      ...clean,
      stdout: wanted,
    });
  });

  test("after workers used the addon, some terminated while generating", async () => {
    expect(await runChild("workers.cjs", golden("tiny-08b"))).toEqual({ ...clean, stdout: "50 50 50 300" });
  });
});
