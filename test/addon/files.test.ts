import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import type { LoadOptions, ModelDescription, NativeEngine } from "../../server/src/engine/addon.js";
import { greedy, loadEngine, type OpenOptions } from "../../server/src/engine/engine.js";
import { loadAddon } from "../../server/src/engine/load.js";
import { describeModel } from "../support/described.js";
import { copyOfGolden, editHeader, golden, removeTensor, temporaryDirectory } from "../support/modelFiles.js";

const weights = "model.safetensors";

async function tokensOf(engine: NativeEngine): Promise<number[]> {
  const session = engine.createSession({ maxPositions: 256 });
  const { tokens } = await session.generate({
    mode: "pair",
    promptIds: Int32Array.of(5, 9, 13, 21),
    maxNewTokens: 40,
    threshold: 0.5,
    sampling: greedy,
    stopIds: [],
  });
  return [...tokens];
}

describe("damaged checkpoints are refused with code and file", () => {
  const cases: readonly [what: string, damage: (directory: string) => void, code: string, message: RegExp][] = [
    ["truncated", (d) => truncateSync(path.join(d, weights), 500_000), "badFile", /model\.safetensors.*truncated/],
    ["oversized header", (d) => patch(path.join(d, weights), 0, 0xff), "badFile", /model\.safetensors.*header/],
    [
      "overlap",
      (d) =>
        editHeader(
          path.join(d, weights),
          (h) => (h["model.norm.weight"]!.data_offsets = h["mtp.norm.weight"]!.data_offsets),
        ),
      "badFile",
      /overlapping|unused bytes/,
    ],
    ["missing tensor", (d) => removeTensor(path.join(d, weights), "mtp.fc.weight"), "missingTensor", /mtp\.fc\.weight/],
    ["vanished", (d) => rmSync(path.join(d, weights)), "io", /model\.safetensors does not exist/],
  ];
  test.each(cases)("%s", async (_, damage, code, message) => {
    const directory = copyOfGolden("tiny-08b");
    damage(directory);
    await expect(loadEngine(directory)).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
  });
});

function patch(file: string, offset: number, value: number): void {
  const bytes = readFileSync(file);
  bytes.fill(value, offset, offset + 8);
  writeFileSync(file, bytes);
}

describe("the engine believes no description", () => {
  const options: LoadOptions = { dtype: "f32", groupSize: 32, threads: 1 };

  async function loadChanged(change: (model: ModelDescription) => ModelDescription): Promise<NativeEngine> {
    const { description } = await describeModel(golden("tiny-08b"));
    return loadAddon().load(change(description), options);
  }

  function changeTensor(model: ModelDescription, name: string, change: object): ModelDescription {
    return { ...model, tensors: model.tensors.map((t) => (t.name === name ? { ...t, ...change } : t)) };
  }

  const name = "model.layers.1.mlp.up_proj.weight";
  const cases: readonly [
    what: string,
    change: (m: ModelDescription) => ModelDescription,
    code: RegExp,
    message: RegExp,
  ][] = [
    ["an offset beyond the file", (m) => changeTensor(m, name, { offset: 10 ** 12 }), /badFile/, /up_proj/],
    ["bytes that do not fit the shape", (m) => changeTensor(m, name, { bytes: 4 }), /badFile|badShape/, /up_proj/],
    ["another shape", (m) => changeTensor(m, name, { shape: [64, 96] }), /badShape/, /up_proj/],
    [
      "a shape beyond any number",
      (m) => changeTensor(m, name, { shape: [2 ** 52, 2 ** 52] }),
      /badShape|badFile/,
      /up_proj/,
    ],
    ["a tensor less", (m) => ({ ...m, tensors: m.tensors.filter((t) => t.name !== name) }), /missingTensor/, /up_proj/],
    ["a tensor twice", (m) => ({ ...m, tensors: [...m.tensors, m.tensors[3]!] }), /badFile|badConfig|badShape/, /./],
    ["no layers", (m) => ({ ...m, config: { ...m.config, layerTypes: [] } }), /badConfig/, /./],
    ["more real ids than rows", (m) => ({ ...m, config: { ...m.config, realVocabSize: 4000 } }), /badConfig/, /./],
    [
      "PAD outside",
      (m) => ({ ...m, config: { ...m.config, pipo: { compressor: "mlp", padTokenId: 9999 } } }),
      /badConfig/,
      /./,
    ],
    ["an odd rotation", (m) => ({ ...m, config: { ...m.config, rotaryDim: 7 } }), /badConfig|unsupported/, /./],
    [
      "norms of another kind",
      (m) => ({ ...m, config: { ...m.config, normWeight: "squared" as never } }),
      /badRequest|badConfig|unsupported/,
      /normWeight.*squared/,
    ],
    [
      "a model larger than memory",
      (m) => ({ ...m, config: { ...m.config, vocabSize: 2 ** 20, hiddenSize: 2 ** 16 } }),
      /notEnoughMemory/,
      /GB|TB/,
    ],
  ];
  test.each(cases)("%s", async (_, change, code, message) => {
    await expect(loadChanged(change)).rejects.toMatchObject({
      code: expect.stringMatching(code),
      message: expect.stringMatching(message),
    });
  });

  test("a file that shrank after it was described", async () => {
    const directory = copyOfGolden("tiny-08b");
    const { description } = await describeModel(directory);
    truncateSync(path.join(directory, weights), 300_000);
    await expect(loadAddon().load(description, options)).rejects.toMatchObject({ code: "badFile" });
  });

  test("a file that vanished after it was described", async () => {
    const directory = copyOfGolden("tiny-08b");
    const { description } = await describeModel(directory);
    renameSync(path.join(directory, weights), path.join(directory, "elsewhere"));
    await expect(loadAddon().load(description, options)).rejects.toMatchObject({
      code: "io",
      message: expect.stringContaining(weights),
    });
  });
});

describe("packed file", () => {
  async function open(
    directory: string,
    options: OpenOptions,
  ): Promise<{ fresh: boolean; note: string | undefined; tokens: number[] }> {
    const { native } = await loadEngine(directory, { dtype: "int8", threads: 1, ...options });
    try {
      return { fresh: native.info.fromPackedFile, note: native.info.packedFileNote, tokens: await tokensOf(native) };
    } finally {
      await native.close();
    }
  }

  test("is written once and used from then on, with the same result", async () => {
    const packedDirectory = path.join(temporaryDirectory(), "cache", "deep");
    const first = await open(golden("tiny-08b"), { packedDirectory });
    const second = await open(golden("tiny-08b"), { packedDirectory });
    const without = await open(golden("tiny-08b"), {});
    expect([first.fresh, second.fresh, without.fresh]).toEqual([false, true, false]);
    expect([first.note, second.note]).toEqual([undefined, undefined]);
    expect(second.tokens).toEqual(first.tokens);
    expect(without.tokens).toEqual(first.tokens);
    expect(readdirSync(packedDirectory)).toHaveLength(1);
  });

  test("each format has its own", async () => {
    const packedDirectory = temporaryDirectory();
    await open(golden("tiny-08b"), { packedDirectory });
    expect((await open(golden("tiny-08b"), { packedDirectory, dtype: "int4" })).fresh).toBe(false);
    expect((await open(golden("tiny-08b"), { packedDirectory, dtype: "int8", groupSize: 64 })).fresh).toBe(false);
    expect(readdirSync(packedDirectory)).toHaveLength(3);
  });

  test("of a changed model is stale and replaced", async () => {
    const packedDirectory = temporaryDirectory();
    const directory = copyOfGolden("tiny-08b");
    await open(directory, { packedDirectory });
    utimesSync(path.join(directory, weights), new Date(), new Date());
    expect((await open(directory, { packedDirectory })).fresh).toBe(false);
    expect((await open(directory, { packedDirectory })).fresh).toBe(true);
    expect(readdirSync(packedDirectory)).toHaveLength(1);
  });

  const damages: readonly [what: string, damage: (file: string, size: number) => void][] = [
    ["cut in the middle", (file, size) => truncateSync(file, size >> 1)],
    ["cut by one byte", (file, size) => truncateSync(file, size - 1)],
    ["empty", (file) => truncateSync(file, 0)],
    ["overwritten at the start", (file) => patch(file, 0, 0x55)],
    ["overwritten within its header", (file) => patch(file, 16, 0xff)],
    ["of another program", (file) => writeFileSync(file, "#!/bin/sh\n".repeat(10_000))],
  ];
  test.each(damages)("%s is rebuilt", async (_, damage) => {
    const packedDirectory = temporaryDirectory();
    const first = await open(golden("tiny-08b"), { packedDirectory });
    const file = path.join(packedDirectory, readdirSync(packedDirectory)[0]!);
    damage(file, statSync(file).size);
    const again = await open(golden("tiny-08b"), { packedDirectory });
    expect(again).toEqual({ fresh: false, note: undefined, tokens: first.tokens });
    expect((await open(golden("tiny-08b"), { packedDirectory })).fresh).toBe(true);
  });

  test("that cannot be written costs nothing but itself", async () => {
    const blocker = path.join(temporaryDirectory(), "file");
    writeFileSync(blocker, "");
    const { note, tokens } = await open(golden("tiny-08b"), { packedFile: path.join(blocker, "packed.pipo") });
    expect(note).toContain(blocker);
    expect(tokens).toEqual((await open(golden("tiny-08b"), {})).tokens);
  });

  test("whose name is taken by a directory costs nothing but itself", async () => {
    const packedFile = path.join(temporaryDirectory(), "taken");
    mkdirSync(path.join(packedFile, "full"), { recursive: true });
    const { note } = await open(golden("tiny-08b"), { packedFile });
    expect(note).toContain(packedFile);
    expect(existsSync(path.join(packedFile, "full"))).toBe(true);
  });

  test("two processes' worth of loads at once share one", async () => {
    const packedDirectory = temporaryDirectory();
    const both = await Promise.all([1, 2, 3].map(() => open(golden("tiny-08b"), { packedDirectory })));
    for (const { note, tokens } of both) expect([note, tokens]).toEqual([undefined, both[0]!.tokens]);
    expect(readdirSync(packedDirectory)).toHaveLength(1);
  });
});
