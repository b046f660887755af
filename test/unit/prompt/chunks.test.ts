import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { ChunkedTokenizer } from "../../../server/src/prompt/chunks.js";
import { CharacterTokenizer } from "../../support/fakeEngine.js";
import { bundledPattern, paragraphPattern, PatternTokenizer, qwenPattern } from "../../support/patternTokenizer.js";

const sources = [
  readFileSync(import.meta.filename, "utf8"),
  "def f(x):\n\tif x:\n\n\n        return (x);\n   \n\n}\t\n  // end",
  "a\r\n\r\n  b;\r\nc",
  "\n\n\nx\n",
  "   ",
  "",
  "\u00a0\n\u2003x;\n;\n",
];

describe.each([
  ["the bundled model", bundledPattern],
  ["Qwen", qwenPattern],
])("parts of text for the tokenizer of %s", (_name, pattern) => {
  it.each(sources)("have the ids of the whole: %#", (source) => {
    const tokenizer = new PatternTokenizer(pattern);
    const chunks = new ChunkedTokenizer(tokenizer);
    expect(chunks.chunked).toBe(true);
    expect(chunks.encode(source).flatMap((ids) => [...ids])).toEqual([...tokenizer.encode(source)]);
    expect(chunks.split(source).join("")).toBe(source);
  });

  it("are tokenized once", () => {
    const tokenizer = new PatternTokenizer(pattern);
    const chunks = new ChunkedTokenizer(tokenizer);
    chunks.encode(sources[0]!);
    const before = tokenizer.encoded;
    chunks.encode(`${sources[0]!}x`);
    expect(tokenizer.encoded - before).toBeLessThan(100);
  });
});

it("takes text as a whole when no part can be tokenized alone", () => {
  const tokenizer = new PatternTokenizer(paragraphPattern);
  const chunks = new ChunkedTokenizer(tokenizer);
  expect(chunks.chunked).toBe(false);
  expect(chunks.split("a\nb\n\nc\n")).toEqual(["a\nb\n\nc\n"]);
});

it("cuts very long lines into pieces without splitting a character", () => {
  const chunks = new ChunkedTokenizer(new CharacterTokenizer());
  const pieces = chunks.split(`a${"😀".repeat(2_000)}`);
  expect(pieces.length).toBeGreaterThan(4);
  for (const piece of pieces) expect(piece).not.toMatch(/\p{Surrogate}/u);
});
