import { describe, expect, it } from "vitest";
import {
  documentContext,
  fileNameOf,
  maxPrefixLength,
  maxSuffixLength,
} from "../../../server/src/document/documentContext.js";
import { contextAt, requestAt } from "../../support/completion.js";

describe("the view of a document", () => {
  it("holds what stands around the cursor", () => {
    expect(contextAt("a\nb c█ d\ne")).toMatchObject({
      prefix: "a\nb c",
      suffix: " d\ne",
      linePrefix: "b c",
      lineSuffix: " d",
      prefixStart: 0,
      replaceStart: 5,
      replaceEnd: 5,
    });
  });

  it("has plain line breaks, and offsets in the document as it is", () => {
    expect(contextAt("a\r\nb█\r\nc\rd")).toMatchObject({ prefix: "a\nb", linePrefix: "b", suffix: "\nc\nd", replaceStart: 4 });
  });

  it("copies a window of a large document, from the beginning of a line", () => {
    const line = `${"x".repeat(99)}\n`;
    const large = line.repeat(100_000);
    const context = contextAt(`${large}█${large}`);
    expect(context.prefix.length).toBeLessThanOrEqual(maxPrefixLength);
    expect(context.prefix.length).toBeGreaterThan(maxPrefixLength - 100);
    expect(context.prefixStart % 100).toBe(0);
    expect(context.suffix.length).toBe(maxSuffixLength);
    expect(context.documentLength).toBe(20_000_000);
  });

  it("begins at the same place while somebody types in a very long line", () => {
    const long = "x".repeat(60_000);
    const starts = [0, 1, 2, 3].map((typed) => contextAt(`${long}${"y".repeat(typed)}█`).prefixStart);
    expect(new Set(starts).size).toBe(1);
  });

  it("never splits a character at the edge of its window", () => {
    for (let shift = 0; shift < 3; shift++) {
      const { prefix, suffix } = contextAt(`${"a".repeat(shift)}${"😀".repeat(20_000)}█${"a".repeat(shift)}${"😀".repeat(20_000)}`);
      expect(prefix + suffix).not.toMatch(/\p{Surrogate}/u);
    }
  });

  it("takes lone surrogates as they are", () => {
    expect(contextAt("a\ud800b█\udc00").linePrefix).toBe("a\ud800b");
  });

  it.each([
    ["invalidPosition", { ...requestAt("abc█"), offset: 4 }],
    ["invalidPosition", { ...requestAt("abc█"), offset: -1 }],
    ["invalidPosition", { ...requestAt("abc█"), offset: Number.NaN }],
    ["invalidPosition", { ...requestAt("😀█"), offset: 1 }],
    ["binaryContent", requestAt("a█\0b")],
    ["selectedCompletionMismatch", { ...requestAt("abc█"), selected: { start: 1, end: 9, text: "bcd" } }],
    ["selectedCompletionMismatch", { ...requestAt("abc█"), selected: { start: -1, end: 3, text: "bcd" } }],
    ["selectedCompletionMismatch", { ...requestAt("abc█"), selected: { start: 1, end: 3, text: "bc\nd" } }],
  ])("%s", (problem, request) => {
    expect(documentContext(request)).toBe(problem);
  });
});

it("finds file names in every kind of URI", () => {
  const names = ["file:///a/b%20c.ts", "untitled:Untitled-1", "file:///a/%E4%B8%96.py?x#y", "x:", "file:///bad%zz", "vscode-vfs://github/o/r/f.go"];
  expect(names.map(fileNameOf)).toEqual(["b c.ts", "Untitled-1", "世.py", "untitled", "bad%zz", "f.go"]);
});
