import { readFileSync } from "node:fs";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, it } from "vitest";
import { ChunkedTokenizer } from "../../../server/src/prompt/chunks.js";
import { CharacterTokenizer } from "../../support/fakeEngine.js";
import {
  bundledPattern,
  paragraphPattern,
  PatternTokenizer,
  qwenPattern,
  unicodeQwenPattern,
} from "../../support/patternTokenizer.js";

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

it("cuts at no blank of Unicode that a word goes on behind", () => {
  const tokenizer = new PatternTokenizer(unicodeQwenPattern);
  const chunks = new ChunkedTokenizer(tokenizer);
  expect(chunks.chunked).toBe(true);
  for (const source of ["a\n \u0085 \nb", "a;\n\r b", "a \u0085\n\u0085 b", "a\n\ufeff\nb", ...sources]) {
    const ids = chunks.encode(source).flatMap((part) => [...part]);
    expect(ids, JSON.stringify(source)).toEqual([...tokenizer.encode(source)]);
  }
});

it("keeps no document alive through the lines it remembers", () => {
  const chunks = new ChunkedTokenizer(new CharacterTokenizer());
  const body = `${"x".repeat(40)}\n`.repeat(12_000);
  const typeLetters = (count: number, from: number) => {
    for (let typed = from; typed < from + count; typed++) {
      const lines = chunks.split(`${body}const valueOfSomething = ${typed};\n`);
      for (const line of lines.slice(-20)) chunks.encodePart(line);
    }
  };
  typeLetters(20, 0);
  const before = collectedHeap();
  typeLetters(150, 20);
  // Each of the documents has half a megabyte.
  expect((collectedHeap() - before) / 1e6).toBeLessThan(10);
});

it("remembers a bounded number of bytes", () => {
  const chunks = new ChunkedTokenizer(new CharacterTokenizer());
  const fill = (from: number) => {
    for (let line = from; line < from + 40_000; line++) chunks.encodePart(`a line of some document ${line} 数学\n`);
  };
  fill(0);
  const before = collectedHeap();
  fill(40_000);
  fill(80_000);
  expect((collectedHeap() - before) / 1e6).toBeLessThan(4);
});

/** Bytes of the heap and of array buffers that something still holds. */
function collectedHeap(): number {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}
