import { readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import type { Tokenizer } from "../../../server/src/tokenizer/tokenizer.js";
import { editJson, temporaryDirectory } from "../../support/modelFiles.js";
import { specialTokens, tokenizerIn, writeTokenizer } from "../../support/tokenizerFiles.js";

let directory: string;
let tokenizer: Tokenizer;

beforeEach(async () => {
  directory = temporaryDirectory();
  writeTokenizer(directory);
  tokenizer = await tokenizerIn(directory);
});

const firstSpecial = 256 + 7;

test("merges apply in order of rank", () => {
  expect([...tokenizer.encode("return in")]).toEqual([256 + 5, 0x20, 256]);
  expect([...tokenizer.encode("retun")]).toEqual([257, 258, 0x6e]);
});

test.each([
  ["plain code", "def f(x):\n    return x\n"],
  ["CRLF", "a\r\n\tb\r\n"],
  ["several bytes a character", "naïve 数学 🎉🏽 e\u0301"],
  ["NUL and other controls", "a\0b\u0001\u007f\u0085"],
  ["a byte order mark", "\ufeffimport x"],
  ["nothing", ""],
  ["names of special tokens", "x = '<|im_end|>' <|endoftext|> <think>"],
])("%s survives the way there and back", (_, text) => {
  expect(tokenizer.detokenize(tokenizer.encode(text))).toBe(text);
});

test("lone surrogates become U+FFFD, pairs stay", () => {
  expect(tokenizer.detokenize(tokenizer.encode("a\ud800b\udc00 😀"))).toBe("a\ufffdb\ufffd 😀");
});

test("document text cannot smuggle in control tokens", () => {
  for (const id of tokenizer.encode(`a${specialTokens.join("")}b<think>`)) expect(id).toBeLessThan(firstSpecial);
});

test("prompt text can ask for them by name", () => {
  expect([...tokenizer.encodeWithSpecialTokens("<|fim_prefix|>in<|im_end|><think>")]).toEqual([
    firstSpecial + 3,
    256,
    firstSpecial + 2,
    firstSpecial + 6,
  ]);
  expect([...tokenizer.encodeWithSpecialTokens("in")]).toEqual([256]);
});

test("special tokens are known, have no text, and are not words", () => {
  const end = tokenizer.idOf("<|im_end|>")!;
  const think = tokenizer.idOf("<think>")!;
  expect(end).toBe(firstSpecial + 2);
  expect(tokenizer.isSpecial(end)).toBe(true);
  expect(tokenizer.isSpecial(think)).toBe(false);
  expect(tokenizer.detokenize([0x61, end, think, 0x62])).toBe("a<think>b");
  expect(tokenizer.idOf("<|unknown|>")).toBeUndefined();
  expect(tokenizer.vocabSize).toBe(firstSpecial + 8);
});

test("each id has its exact bytes", () => {
  for (let byte = 0; byte < 256; byte++) expect([...tokenizer.bytesOf(byte)]).toEqual([byte]);
  expect(Buffer.from(tokenizer.bytesOf(256 + 5)).toString()).toBe("return");
  expect([...tokenizer.bytesOf(-1), ...tokenizer.bytesOf(1e6)]).toEqual([]);
});

describe("detokenizer", () => {
  test("never splits a character", () => {
    const detokenizer = tokenizer.createDetokenizer();
    const bytes = Buffer.from("é🎉x");
    expect([...bytes].map((byte) => detokenizer.push(byte))).toEqual(["", "é", "", "", "", "🎉", "x"]);
    expect(detokenizer.end()).toBe("");
  });

  test("ends an incomplete character with U+FFFD", () => {
    const detokenizer = tokenizer.createDetokenizer();
    expect(detokenizer.push(0xf0) + detokenizer.push(0x9f)).toBe("");
    expect(detokenizer.end()).toBe("\ufffd");
  });

  test("goes on after bytes that are no UTF-8", () => {
    const detokenizer = tokenizer.createDetokenizer();
    expect([0xff, 0x61].map((id) => detokenizer.push(id)).join("")).toBe("\ufffda");
  });

  test("passes over a special token inside a character", () => {
    const detokenizer = tokenizer.createDetokenizer();
    expect([0xc3, firstSpecial, 0xa9].map((id) => detokenizer.push(id)).join("")).toBe("é");
  });
});

test("long text without any space is encoded in reasonable time", () => {
  const started = performance.now();
  expect(tokenizer.encode("in".repeat(100_000)).length).toBe(100_000);
  expect(performance.now() - started).toBeLessThan(5_000);
});

describe("files that cannot be used", () => {
  test("no tokenizer.json", async () => {
    rmSync(path.join(directory, "tokenizer.json"));
    await expect(tokenizerIn(directory)).rejects.toMatchObject({
      code: "io",
      message: expect.stringContaining("tokenizer.json"),
    });
  });

  test("damaged JSON", async () => {
    const file = path.join(directory, "tokenizer.json");
    writeFileSync(file, readFileSync(file).subarray(0, 200));
    await expect(tokenizerIn(directory)).rejects.toMatchObject({
      code: "badFile",
      message: expect.stringContaining(file),
    });
  });

  test("another kind of tokenizer", async () => {
    editJson(
      path.join(directory, "tokenizer.json"),
      (document) => ((document["model"] as Record<string, unknown>)["type"] = "Unigram"),
    );
    await expect(tokenizerIn(directory)).rejects.toMatchObject({
      code: "unsupported",
      message: expect.stringContaining("Unigram"),
    });
  });

  test("without tokenizer_config.json it works all the same", async () => {
    rmSync(path.join(directory, "tokenizer_config.json"));
    expect((await tokenizerIn(directory)).encode("in")).toEqual(Int32Array.of(256));
  });
});
