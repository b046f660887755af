import { describe, expect, test } from "vitest";
import { literalPattern, translatePattern } from "../../../server/src/tokenizer/splitPattern.js";

function matches(source: string, text: string): string[] {
  return text.match(new RegExp(translatePattern(source), "gu")) ?? [];
}

describe("patterns mean what they mean to Oniguruma", () => {
  test.each([
    ["blanks are those of Unicode", String.raw`\s+`, "a\u0085b\ufeffc\u3000", ["\u0085", "\u3000"]],
    ["and so is what is none", String.raw`\S+`, "a\u0085b\ufeff", ["a", "b\ufeff"]],
    ["digits are those of all scripts", String.raw`\d`, "1٢x", ["1", "٢"]],
    ["a point stops at a line feed only", ".+", "a\rb\nc", ["a\rb", "c"]],
    ["case is ignored where a group says so", "(?i:'s|'LL)", "'S 's '\u017f 'lL 'x", ["'S", "'s", "'\u017f", "'lL"]],
    ["also in a set", "'(?i:[sk]|ve)", "'S'K'\u212a'vE", ["'S", "'K", "'\u212a", "'vE"]],
    ["and nowhere else", "(?i:a)b", "Ab AB", ["Ab"]],
    ["escaped signs are signs", String.raw`[!\"#\-\]]+|\'`, `"#-]'`, [`"#-]`, "'"]],
    ["bounds", String.raw`\p{N}{1,3}`, "12345", ["123", "45"]],
    ["what follows", String.raw`\s+(?!\S)|\s+`, "   x", ["  ", " "]],
  ])("%s", (_, source, text, found) => {
    expect(matches(source, text)).toEqual(found);
  });
});

describe("what cannot be translated, or could take long, is refused", () => {
  test.each([
    String.raw`\w+\b`,
    String.raw`(a)\1`,
    "^a",
    "a$",
    "a++",
    "(?>a)b",
    "(?<=a)b",
    "(?i)a",
    "(?i:ä)",
    "(?i:[a-z])",
    "[a-z&&[aeiou]]",
    "[[:alpha:]]",
    "(a+)+b",
    "(?:a*b?)*c",
    "(?:a+){2}",
    "(a{1,}){3,}",
    String.raw`\s*\s*\s*\s*x`,
    "a*",
    "(a",
    "a)",
    "[a",
    "\\",
    String.raw`\p`,
    String.raw`\p{Nothing}`,
    `x{`,
    "a".repeat(5_000),
  ])("%s", (source) => {
    expect(() => translatePattern(source)).toThrow();
  });
});

test("a text stands for itself", () => {
  const text = String.raw`^$.*+?()[]{}|\/<|a|>`;
  expect(text.match(new RegExp(literalPattern(text), "u"))?.[0]).toBe(text);
});
