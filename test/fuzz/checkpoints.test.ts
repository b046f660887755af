import { cpSync, existsSync, openSync, readFileSync, readSync, closeSync, readdirSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { NeedsMore } from "../../server/src/checkpoints/gguf/cursor.js";
import { parseGguf } from "../../server/src/checkpoints/gguf/header.js";
import { readSafetensors } from "../../server/src/checkpoints/safetensors/header.js";
import { ModelError } from "../../server/src/modelError.js";
import { describeModel } from "../support/described.js";
import { ggufBytes, ggufTypes, tinyGguf, type GgufType } from "../support/ggufFiles.js";
import { golden, temporaryDirectory } from "../support/modelFiles.js";
import { writeTokenizer } from "../support/tokenizerFiles.js";
import { mutateBytes, mutateJson, Random } from "./mutate.js";

/*
 * Damaged files, the same ones in every run: each must load or end in a ModelError that names a file, soon and without much
 * memory. PIPO_FUZZ_RUNS multiplies how many are tried, PIPO_FUZZ_SEED tries others.
 */
const factor = Number(process.env["PIPO_FUZZ_RUNS"] ?? 1);
const seed = Number(process.env["PIPO_FUZZ_SEED"] ?? 1);
const longestMs = 10_000;
const mostBytes = 600 * 1024 * 1024;
const timeout = 60_000 * Math.max(1, factor);

/** What loading came to. Fails where it is neither success nor a sentence about this file. */
async function outcomeOf(load: () => unknown, file: string, which: string): Promise<"loaded" | ModelError["code"]> {
  const start = performance.now();
  let outcome: "loaded" | ModelError["code"] = "loaded";
  try {
    await load();
  } catch (error) {
    if (!(error instanceof ModelError)) throw new Error(`${which}: no ModelError`, { cause: error });
    // eslint-disable-next-line no-control-regex -- control characters are what is looked for
    if (!/^[^\u0000-\u001f\u007f]+[.!]$/.test(error.message)) throw new Error(`${which}: no plain sentence: ${error.message}`);
    if (!error.message.includes(file)) throw new Error(`${which}: ${file} is not named: ${error.message}`);
    if (error.message.length > 2000) throw new Error(`${which}: ${error.message.length} characters`);
    outcome = error.code;
  }
  const took = performance.now() - start;
  if (took > longestMs) throw new Error(`${which}: ${took.toFixed(0)} ms`);
  return outcome;
}

/** Tries `runs` damaged files and returns how often each outcome came. */
async function tryAll(runs: number, load: (random: Random, which: string) => Promise<string>): Promise<Map<string, number>> {
  const counts = new Map<string, number>();
  const before = process.memoryUsage().rss;
  for (let run = 0; run < runs * factor; ++run) {
    const outcome = await load(new Random(seed * 1_000_003 + run), `run ${run} of seed ${seed}`);
    counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
  }
  expect(process.memoryUsage().rss - before).toBeLessThan(mostBytes);
  return counts;
}

/** The mutations must reach the checks: a fuzzer whose files all load, or all fail at once, finds nothing. */
function expectVariety(counts: ReadonlyMap<string, number>, ...outcomes: readonly string[]): void {
  expect([...counts.keys()]).toEqual(expect.arrayContaining([...outcomes]));
}

const everyType = Object.keys(ggufTypes) as GgufType[];

describe("GGUF", () => {
  test.each(["llama", "qwen2", "qwen3"] as const)("damaged headers of a tiny %s", { timeout }, async (architecture) => {
    const bytes = ggufBytes(tinyGguf({ architecture, types: everyType }));
    const header = bytes.length - dataBytes(bytes);
    const file = path.join(temporaryDirectory(), "tiny.gguf");
    const counts = await tryAll(250, (random, which) => {
      writeFileSync(file, mutateBytes(bytes, random, header));
      return outcomeOf(() => describeModel(file), file, which);
    });
    expectVariety(counts, "loaded", "badFile");
  });

  const models = process.env["PIPO_TEST_MODELS"] ?? "";
  const real = existsSync(models) ? readdirSync(models).filter((name) => name.endsWith(".gguf")) : [];
  test.skipIf(real.length === 0)("damaged headers of real files (skipped unless PIPO_TEST_MODELS has some)", { timeout }, async () => {
    for (const name of real) {
      const file = path.join(models, name);
      const { size } = statSync(file);
      const bytes = Buffer.alloc(Math.min(size, 8 << 20));
      const handle = openSync(file, "r");
      readSync(handle, bytes, 0, bytes.length, 0);
      closeSync(handle);
      await tryAll(30, (random, which) => {
        // What is damaged lies at both ends: keys before the vocabulary, tensors behind it.
        const damaged = mutateBytes(bytes, random, random.below(2) === 0 ? 2000 : bytes.length);
        return outcomeOf(() => parsedOrCut(damaged, file, size), file, `${name}, ${which}`);
      });
    }
  });
});

function parsedOrCut(bytes: Buffer, file: string, size: number): void {
  try {
    parseGguf(bytes, { file, size, mtimeNs: 0n });
  } catch (error) {
    if (!(error instanceof NeedsMore)) throw error;
  }
}

/** The data of a tiny file is zeros behind the last name of a tensor. */
function dataBytes(bytes: Buffer): number {
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === 0) end -= 1;
  return bytes.length - end;
}

test("damaged headers of safetensors files", { timeout }, async () => {
  const original = readFileSync(path.join(golden("tiny-08b"), "model.safetensors"));
  const header = 8 + Number(original.readBigUInt64LE());
  const file = path.join(temporaryDirectory(), "model.safetensors");
  const counts = await tryAll(400, (random, which) => {
    writeFileSync(file, mutateBytes(original, random, header));
    return outcomeOf(() => readSafetensors(file), file, which);
  });
  expectVariety(counts, "loaded", "badFile");
});

describe("directories", () => {
  const documents = ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json", "pipo.json"];

  test.each(["tiny-08b", "tiny-qwen2"])("%s with damaged JSON", { timeout }, async (name) => {
    const directory = temporaryDirectory();
    cpSync(golden(name), directory, { recursive: true });
    writeTokenizer(directory);
    writeFileSync(path.join(directory, "generation_config.json"), '{"eos_token_id": [5, 288]}');
    writeFileSync(path.join(directory, "pipo.json"), '{"name": "x", "contextPairs": 64, "stopTokenIds": [1], "padTokenId": 3}');
    const texts = new Map(documents.map((file) => [file, readFileSync(path.join(directory, file), "utf8")]));
    const counts = await tryAll(400, async (random, which) => {
      const file = random.pick(documents);
      const text = texts.get(file)!;
      const damaged =
        random.below(4) === 0
          ? mutateBytes(Buffer.from(text), random)
          : JSON.stringify(mutateJson(JSON.parse(text) as Parameters<typeof mutateJson>[0], random));
      writeFileSync(path.join(directory, file), damaged);
      const outcome = await outcomeOf(() => describeModel(directory), directory, `${file}, ${which}`);
      writeFileSync(path.join(directory, file), text);
      return outcome;
    });
    expectVariety(counts, "loaded", "badFile", "badConfig", "unsupported");
  });

  test("adapters with damaged settings", { timeout }, async () => {
    const directory = temporaryDirectory();
    cpSync(golden("tiny-lora"), directory, { recursive: true });
    const file = path.join(directory, "adapter/adapter_config.json");
    const text = readFileSync(file, "utf8");
    const counts = await tryAll(150, (random, which) => {
      writeFileSync(file, JSON.stringify(mutateJson(JSON.parse(text) as Parameters<typeof mutateJson>[0], random)));
      const adapter = path.join(directory, "adapter");
      return outcomeOf(() => describeModel(path.join(directory, "base"), adapter), directory, which);
    });
    expectVariety(counts, "loaded", "badFile");
  });
});
