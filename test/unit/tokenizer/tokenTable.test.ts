import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { vocabularyFromGguf } from "../../../server/src/tokenizer/ggufVocabulary.js";
import { loadTokenizer } from "../../../server/src/tokenizer/tokenizer.js";
import { buildTokenTable, openTokenTable } from "../../../server/src/tokenizer/tokenTable.js";
import type { TokenizerSource } from "../../../server/src/tokenizer/vocabulary.js";
import { bundledGguf, smallGguf } from "../../support/bundledVocabulary.js";
import { temporaryDirectory } from "../../support/modelFiles.js";

class CountedSource implements TokenizerSource {
  readonly file = "model.gguf";
  reads = 0;

  constructor(
    readonly fingerprint = "1",
    private readonly gguf = bundledGguf("qwen2"),
  ) {}

  async vocabulary() {
    this.reads += 1;
    return vocabularyFromGguf(this.gguf);
  }
}

let directory: string;
let file: string;
beforeEach(() => {
  directory = temporaryDirectory();
  file = path.join(directory, "model.tokens");
});

const text = "export function add(a: number): number {\n  return a + 1;\n}\n// naïve 数学 <|im_end|>\n";

test("the second start takes the table and gives the same", async () => {
  const source = new CountedSource();
  const first = await loadTokenizer(source, file);
  const second = await loadTokenizer(source, file);
  expect(source.reads).toBe(1);
  expect(readdirSync(directory)).toEqual(["model.tokens"]);
  expect([...second.encode(text)]).toEqual([...first.encode(text)]);
  expect(second.detokenize(first.encode(text))).toBe(text);
  for (const name of ["<|im_end|>", "<|fim_prefix|>", "return", "Ġ", "no such token", ""]) {
    expect(second.idOf(name), name).toBe(first.idOf(name));
  }
  expect(second.idOf("<|im_end|>")).toBe(second.eosId);
  expect([second.vocabSize, second.bosId, second.eosId]).toEqual([first.vocabSize, first.bosId, first.eosId]);
});

test("another vocabulary replaces the table", async () => {
  await loadTokenizer(new CountedSource("1"), file);
  const other = await loadTokenizer(new CountedSource("2", smallGguf()), file);
  expect(other.vocabSize).toBe(260);
  expect((await loadTokenizer(new CountedSource("2", smallGguf()), file)).vocabSize).toBe(260);
});

describe("a table that is not whole is built again without a word", () => {
  test.each<[string, (bytes: Buffer) => Buffer]>([
    ["empty", () => Buffer.alloc(0)],
    ["cut", (bytes) => bytes.subarray(0, bytes.length - 1)],
    ["cut in its header", (bytes) => bytes.subarray(0, 20)],
    ["longer", (bytes) => Buffer.concat([bytes, Buffer.alloc(4)])],
    ["another file", () => Buffer.from("x".repeat(100))],
    ["of another version", (bytes) => bytes.fill(9, 4, 5)],
    ["with a length of its description that is none", (bytes) => bytes.fill(0xff, 12, 16)],
  ])("%s", async (_, damage) => {
    const source = new CountedSource();
    await loadTokenizer(source, file);
    writeFileSync(file, damage(readFileSync(file)));
    const tokenizer = await loadTokenizer(source, file);
    expect(source.reads).toBe(2);
    expect(tokenizer.detokenize(tokenizer.encode(text))).toBe(text);
    await loadTokenizer(source, file);
    expect(source.reads).toBe(2);
  });

  test("changed in any byte", () => {
    const { buffer } = buildTokenTable(vocabularyFromGguf(smallGguf()), "1");
    expect(openTokenTable(buffer.slice(0), "1")).toBeDefined();
    expect(openTokenTable(buffer.slice(0), "2")).toBeUndefined();
    for (let at = 0; at < buffer.byteLength; at += at < 600 ? 1 : 97) {
      const changed = buffer.slice(0);
      new Uint8Array(changed)[at]! ^= 0x10;
      expect(openTokenTable(changed, "1"), `${at}`).toBeUndefined();
    }
  });
});

test("a folder that is not there or cannot be written to costs nothing but time", async () => {
  const source = new CountedSource();
  const tokenizer = await loadTokenizer(source, path.join(directory, "missing", "model.tokens"));
  expect(tokenizer.detokenize(tokenizer.encode(text))).toBe(text);
  await loadTokenizer(source, directory);
  expect(source.reads).toBe(2);
  expect(readdirSync(directory)).toEqual([]);
});
