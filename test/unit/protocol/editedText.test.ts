import { describe, expect, it } from "vitest";
import { TextDocument } from "vscode-languageserver-textdocument";
import { EditedText } from "../../../server/src/handlers/editedText.js";

/** Repeatable numbers below `limit`. */
function numbers(seed: number) {
  let state = seed;
  return (limit: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}

const bits = ["a", "word ", "\n", "\r\n", "\r", "\n\r", "😀", "\ud800", "long line ".repeat(900), "x\n".repeat(5_000), ""];

describe("a text in pieces", () => {
  it.each(Array.from({ length: 30 }, (_, seed) => seed))("is the same as one string after any edits: %i", (seed) => {
    const below = numbers(seed);
    const some = (count: number) => Array.from({ length: below(count) }, () => bits[below(bits.length)]!).join("");
    let expected = some(40);
    const text = new EditedText(expected);
    for (let edit = 0; edit < 60; edit++) {
      const start = below(expected.length + 1);
      const end = start + below(Math.min(expected.length - start, below(4) === 0 ? 40_000 : 4) + 1);
      const inserted = below(3) === 0 ? "" : some(4);
      text.replace(start, end, inserted);
      expected = expected.slice(0, start) + inserted + expected.slice(end);
    }
    const reference = TextDocument.create("u", "x", 1, expected);
    expect(text.slice(0)).toBe(expected);
    expect([text.length, text.lineCount]).toEqual([expected.length, reference.lineCount]);
    for (let probe = 0; probe < 200; probe++) {
      const offset = below(expected.length + 1);
      expect(text.positionAt(offset)).toEqual(reference.positionAt(offset));
      const position = { line: below(reference.lineCount + 2), character: below(30) };
      expect(text.offsetAt(position)).toBe(reference.offsetAt(position));
      expect(text.slice(offset, offset + 20)).toBe(expected.slice(offset, offset + 20));
    }
  });

  it("keeps a line break whole that an edit puts together", () => {
    const text = new EditedText(`${"x".repeat(8_191)}\rab\n`);
    text.replace(8_192, 8_194, "");
    expect(text.lineCount).toBe(2);
    expect(text.positionAt(8_192)).toEqual({ line: 0, character: 8_191 });
  });

  it("can become empty and grow again", () => {
    const text = new EditedText("a\nb");
    text.replace(0, 3, "");
    expect([text.length, text.lineCount, text.slice(0)]).toEqual([0, 1, ""]);
    text.replace(0, 0, "c\n");
    expect([text.length, text.lineCount, text.positionAt(2)]).toEqual([2, 2, { line: 1, character: 0 }]);
  });
});

it("a keystroke in 10 MB costs little", () => {
  const line = "const value = compute(alpha, beta); // comment\n";
  const document = new EditedText(line.repeat(10_000_000 / line.length));
  const times = Array.from({ length: 60 }, (_, index) => {
    const startedAt = performance.now();
    const offset = document.offsetAt({ line: 100_000, character: index });
    document.replace(offset, offset, index % 10 === 9 ? "\n" : "x");
    document.slice(offset - 16_000, offset);
    document.positionAt(offset);
    return performance.now() - startedAt;
  });
  expect(times.sort((a, b) => a - b)[15]).toBeLessThan(1);
});
