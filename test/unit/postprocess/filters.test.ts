import { describe, expect, it } from "vitest";
import { extentRule } from "../../../server/src/document/extent.js";
import { extentOf } from "../../../server/src/completion/trigger.js";
import { defaultSettings } from "../../../server/src/config/config.js";
import { filters } from "../../../server/src/postprocess/pipeline.js";
import { contextAt } from "../../support/completion.js";

type Case = readonly [what: string, document: string, text: string, expected: string];

/** For every filter: a document with `█` at the cursor, a text, and what is left of it. */
const cases: Readonly<Record<string, readonly Case[]>> = {
  cutSpecialTokens: [
    ["ends at a control token", "x = █", "1<|im_end|>\n", "1"],
    ["ends at one of another family", "x = █", "1<|file_separator|>2", "1"],
    ["keeps one that the document is about", 'pad = "<|fim_pad|>"\nx = █', '"<|fim_pad|>"', '"<|fim_pad|>"'],
    ["keeps operators that look alike", "x = █", "a <| b |> c", "a <| b |> c"],
  ],
  cutInvalidCharacters: [
    ["ends at bytes that were no text", "x = █", "'a\ufffdb'", "'a"],
    ["ends at control characters", "x = █", "a\u0000b", "a"],
    ["ends at half a character", "x = █", "a\ud83d", "a"],
    ["keeps tabs, line breaks and wide characters", "x = █", "\t'😀'\r\n", "\t'😀'\r\n"],
  ],
  plainLineBreaks: [["has only line feeds", "x = █", "a\r\nb\rc\n", "a\nb\nc\n"]],
  matchIndentation: [
    ["does not indent twice", "def f():\n    █", "    return 1", "return 1"],
    ["keeps the first indentation at column 0", "def f():\n█", "    return 1", "    return 1"],
    ["keeps a blank after code", "return█", " 1", " 1"],
  ],
  trimToExtent: [
    ["keeps one line", "x = █", "1\ny = 2", "1"],
    ["keeps a block", "def f():\n    █", "a()\n    b()\nc()", "a()\n    b()"],
    ["keeps nothing of a line that only breaks", "x = 1█", "\ny = 2", ""],
  ],
  stopBeforeSuffix: [
    ["ends before the next line", "  █\n  b();\n", "a();\n  b();\n  c();", "a();"],
    ["is empty when the line itself stands there", "  █\n  b();\n", "b();", ""],
    ["tells an inner bracket from the outer one", "  █\n}\n", "if (a) {\n  }\n}", "if (a) {\n  }"],
    ["keeps a text without a next line", "  █", "a();", "a();"],
  ],
  cutLoops: [
    ["keeps the first round", "def f(█", "self, name: str, name: str, name: str, name", "self, name: str"],
    ["keeps the first condition", "x = █", "a && node === 'B' && node === 'B' && node === 'B'", "a && node === 'B'"],
    ["keeps numbers and rulers", "x = █", "[0, 0, 0, 0, 0, 0, 0, 0, 0]  # ------------------------", "[0, 0, 0, 0, 0, 0, 0, 0, 0]  # ------------------------"],
    ["keeps what comes only twice", "x = █", "value + other + value + other", "value + other + value + other"],
    ["keeps lines that begin alike", "{█", "\n  value_a: 1,\n  value_b: 1,\n  value_c: 1,", "\n  value_a: 1,\n  value_b: 1,\n  value_c: 1,"],
  ],
  dropRepeatedLines: [
    ["is empty when it copies the line above", "  total += item;\n  █", "total += item;", ""],
    ["ends where a line comes twice", "  █", "foo(bar, 1);\n  foo(bar, 1);\n  foo(bar, 1);", "foo(bar, 1);"],
    ["ends where two lines alternate", "█", "open(a)\nshut(a)\nopen(a)\nshut(a)\n", "open(a)\nshut(a)"],
    ["keeps short lines that repeat", "  }\n█", "}", "}"],
    ["keeps lines that come again after others", "if (a)\n  return false;\n█", "if (b)\n  return false;", "if (b)\n  return false;"],
    ["sees the whole line, not only its end", "  value = first(1)\n  value = █", "first(1)", ""],
  ],
  cutAtSuffixCloser: [
    ["ends before the bracket behind the cursor", "f(█)", "a, b);", "a, b"],
    ["keeps brackets that it opens", "f(█)", "g(a), [h()]", "g(a), [h()]"],
    ["leaves other closing brackets alone", "f(█)", "a]", "a]"],
    ["does nothing where none stands behind", "f(█", "a);", "a);"],
    ["counts characters beyond the basic plane", "f(█)", "'😀😀', b)", "'😀😀', b"],
  ],
  trimSuffixOverlap: [
    ["removes the quote behind the cursor", 'name = "█"', 'ann"', "ann"],
    ["removes what the line goes on with", "f(█, b)", "a, b)", "a"],
    ["removes lines that follow", "def f():█\n    return 1\n", "\n    x = 1\n    return 1", "\n    x = 1"],
    ["keeps a text that only shares a blank", "x█\n  y", "a\n ", "a\n "],
  ],
  trimTrailingWhitespace: [
    ["at the end", "x = █", "1  \n\t", "1"],
    ["in empty lines", "x = █", "1\n   \n2", "1\n\n2"],
    ["not at the beginning", "x =█", " 1", " 1"],
  ],
  dropEmpty: [
    ["drops blanks", "x█", " \t\n", ""],
    ["keeps anything else", "x█", " ;", " ;"],
  ],
};

describe.each(filters.map((filter) => [filter.name, filter] as const))("%s", (name, filter) => {
  it("has cases", () => expect(cases[name]?.length).toBeGreaterThan(0));

  it.each(cases[name] ?? [])("%s", (_what, marked, text, expected) => {
    const document = contextAt(marked);
    const rule = extentRule(document, extentOf(document, defaultSettings.completion), 8);
    expect(filter.apply(text, { document, rule })).toBe(expected);
  });
});
