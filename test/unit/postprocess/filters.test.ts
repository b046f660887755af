import { describe, expect, it } from "vitest";
import { extentRule } from "../../../server/src/document/extent.js";
import { extentOf } from "../../../server/src/completion/trigger.js";
import { defaultSettings } from "../../../server/src/config/config.js";
import { filters } from "../../../server/src/postprocess/pipeline.js";
import { contextAt } from "../../support/completion.js";

type Case = readonly [what: string, document: string, text: string, expected: string, languageId?: string];

/** For every filter: a document with `█` at the cursor, a text, and what is left of it. */
const cases: Readonly<Record<string, readonly Case[]>> = {
  cutSpecialTokens: [
    ["ends at a control token", "x = █", "1<|im_end|>\n", "1"],
    ["ends at one of another family", "x = █", "1<|file_separator|>2", "1"],
    ["keeps one that the document is about", 'pad = "<|fim_pad|>"\nx = █', '"<|fim_pad|>"', '"<|fim_pad|>"'],
    ["keeps one that the document names below", 'x = █\n# ends with <|im_start|>', '"<|im_start|>"', '"<|im_start|>"', "python"],
    ["ends at one that the document does not name, behind one that it names", "a = '<|im_start|>'\nb = █", "'<|im_start|>', '<|im_end|>'", "'<|im_start|>', '"],
    ["ends at a thought", "k = █", "<think>\nreturn 1", ""],
    ["ends at a call of a tool", "k = █", "1</tool_call>", "1"],
    ["ends at tokens of other families", "k = █", "1<fim_pad>2", "1"],
    ["ends at tokens between wide bars", "k = █", "1<｜fim▁end｜>2", "1"],
    ["keeps operators that look alike", "x = █", "a <| b |> c", "a <| b |> c"],
  ],
  cutInvalidCharacters: [
    ["ends at bytes that were no text", "x = █", "'a\ufffdb'", "'a"],
    ["ends at control characters", "x = █", "a\u0000b", "a"],
    ["ends at half a character", "x = █", "a\ud83d", "a"],
    ["ends at line ends that editors warn of", "x = █", "'a\u2028b'", "'a"],
    ["ends at controls of the second block", "x = █", "'a\u0085b'", "'a"],
    ["ends at marks that turn the direction", "x = █", "'a\u202eb'", "'a"],
    ["ends at isolates", "x = █", "'a\u2067b'", "'a"],
    ["ends at characters without width", "x = █", "'a\u200bb'", "'a"],
    ["ends at a byte order mark", "x = █", "'a\ufeffb'", "'a"],
    ["ends at tags", "x = █", "'a\u{e0041}b'", "'a"],
    ["ends at characters that are none", "x = █", "'a\uffffb'", "'a"],
    ["ends at a joiner between letters", "x = █", "'a\u200db'", "'a"],
    ["ends at blanks that look like none", "x = █", "a\u3164 = 1", "a"],
    ["keeps joiners of emoji and of scripts that need them", "x = █", "'👩\u200d💻 می\u200cخواهم'", "'👩\u200d💻 می\u200cخواهم'"],
    ["keeps tabs, line breaks and wide characters", "x = █", "\t'😀'\r\n", "\t'😀'\r\n"],
  ],
  plainLineBreaks: [["has only line feeds", "x = █", "a\r\nb\rc\n", "a\nb\nc\n"]],
  dropFence: [
    ["takes off both fences", "def f():\n    █", "```python\nreturn 1\n```", "return 1", "python"],
    ["takes off one without a language", "█", "\n```\nreturn 1", "return 1"],
    ["ends at a fence", "█", "return 1\n```\nThis returns 1.", "return 1"],
    ["keeps fences in Markdown", "█", "```python\nreturn 1\n```", "```python\nreturn 1\n```", "markdown"],
    ["keeps template literals", "x = █", "```", "```"],
  ],
  dropEcho: [
    ["removes the line that stands before the cursor", "const total = █", " const total = a + b;", " a + b;"],
    ["removes it where it goes on in a word", "def add█", "def add(a, b):", "(a, b):", "python"],
    ["removes the last word", "return value█", "value_of(x)", "_of(x)"],
    ["keeps short words", "x = a█", "ab", "ab"],
    ["keeps a call of itself", "fib(█", "fib(1))", "fib(1))"],
    ["keeps a text that begins alike", "const total = █", "const_total + 1", "const_total + 1"],
  ],
  fitLeadingBlanks: [
    ["does not indent twice", "def f():\n    █", "    return 1", "return 1"],
    ["keeps the first indentation at column 0", "def f():\n█", "    return 1", "    return 1"],
    ["keeps a blank after code", "return█", " 1", " 1"],
    ["has one blank where the document has it", "const x = █", "  5;", "5;"],
    ["leads to the indentation of the block", "def f():\n    x = 1\n  █", "  return x", "  return x"],
    ["leads to it by one blank", "class A:\n    def f(self):\n        a = 1\n       █", " return a", " return a"],
    ["leads to it and no further", "def f():\n    x = 1\n  █", "    return x", "  return x"],
    ["leads to it with tabs", "\tx = 1\n█ ".replace("█ ", "  █"), "\treturn x", "\treturn x"],
    ["does not end between two levels", "def f():\n        x = 1\n  █", "  return x", "return x"],
    ["keeps line breaks", "f(a, █", "\n  b)", "\n  b)"],
  ],
  unifyIndentation: [
    ["has tabs where the document has them", "def f():\n\tif x:\n\t\t█\n", "a = 1\n        b = 2", "a = 1\n\t\tb = 2", "python"],
    ["has spaces where the document has them", "if (a) {\n  b();\n  █\n}", "c();\n\tif (d) {\n\t\te();", "c();\n  if (d) {\n    e();"],
    ["learns from the lines below", "█\n\ta\n", "x:\n    b", "x:\n\tb"],
    ["keeps blanks that align behind tabs", "\ta = f(b,\n\t  c)\n\t█", "d(\n\t  e)", "d(\n\t  e)"],
    ["changes nothing where no line is indented", "a\n█", "b\n    c", "b\n    c"],
    ["changes nothing within a line", "\tx = █", "a    b", "a    b"],
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
    ["sees it behind another comment", "def f():\n    █\n    b = 2  # two\n", "a = 1\n    b = 2\n    c = 3", "a = 1", "python"],
    ["sees it with other spacing", "  █\n  b(1,  2);\n", "a();\n  b(1, 2); // more", "a();"],
    ["keeps the same line at another depth", "  █\n  b();\n", "if (a)\n    b();", "if (a)\n    b();"],
    ["takes no bracket that opens for a repetition", "[\n  █\n  {\n", "{\n    a: 1\n  },", "{\n    a: 1\n  },"],
  ],
  cutLoops: [
    ["keeps the first round", "def f(█", "self, name: str, name: str, name: str, name", "self, name: str"],
    ["keeps the first condition", "x = █", "a && node === 'B' && node === 'B' && node === 'B'", "a && node === 'B'"],
    ["keeps numbers and rulers", "x = █", "[0, 0, 0, 0, 0, 0, 0, 0, 0]  # ------------------------", "[0, 0, 0, 0, 0, 0, 0, 0, 0]  # ------------------------"],
    ["keeps the first of short ones", "v = █", " ab, ab, ab, ab, ab, ab", " ab"],
    ["keeps the first of numbers", "v = █", " 1.0.0, 1.0.0, 1.0.0, 1.0.0, 1.0.0", " 1.0.0"],
    ["keeps what came before the circle", "x = {█", "1: 1, 2: 2, 4: 3, 4: 3, 4: 3, 4: 3", "1: 1, 2: 2, 4: 3"],
    ["keeps nothing of calls that are never closed", "load(█)", "dump(x(dump(x(dump(x(", ""],
    ["keeps some zeros of too many", "v = [█", "0, ".repeat(40), "0"],
    ["keeps three entities, or one whole", "<p>█</p>", "a&nbsp;&nbsp;&nbsp;b", "a&nbsp;", "html"],
    ["keeps what comes only twice", "x = █", "value + other + value + other", "value + other + value + other"],
    ["keeps lines that begin alike", "{█", "\n  value_a: 1,\n  value_b: 1,\n  value_c: 1,", "\n  value_a: 1,\n  value_b: 1,\n  value_c: 1,"],
  ],
  dropRepeatedLines: [
    ["is empty when it copies the line above", "  total += item;\n  █", "total += item;", ""],
    ["ends where a line comes twice", "  █", "foo(bar, 1);\n  foo(bar, 1);\n  foo(bar, 1);", "foo(bar, 1);"],
    ["ends where two lines alternate", "█", "open(a)\nshut(a)\nopen(a)\nshut(a)\n", "open(a)\nshut(a)"],
    ["ends where four lines come again", "def f():\n  █", "aaaa = 1\n  bbbb = 2\n  cccc = 3\n  dddd = 4\n  aaaa = 1\n  bbbb = 2\n  cccc = 3\n  dddd = 4", "aaaa = 1\n  bbbb = 2\n  cccc = 3\n  dddd = 4"],
    ["keeps short lines that repeat", "  }\n█", "}", "}"],
    ["keeps lines that come again after others", "if (a)\n  return false;\n█", "if (b)\n  return false;", "if (b)\n  return false;"],
    ["sees the whole line, not only its end", "  value = first(1)\n  value = █", "first(1)", ""],
  ],
  cutAtCloser: [
    ["ends before the bracket behind the cursor", "f(█)", "a, b);", "a, b"],
    ["keeps brackets that it opens", "f(█)", "g(a), [h()]", "g(a), [h()]"],
    ["ends before one that closes nothing", "f(█)", "a]", "a"],
    ["is empty where the line is whole", "x = foo(a)█", ");", ""],
    ["is empty where the list is closed already", "x = [\n  1,\n  2\n]█", "]", ""],
    ["keeps one that closes what is open above", "f(\n  a,\n  █", "b)", "b)"],
    ["keeps one inside a string", "print(█)", '":)"', '":)"', "python"],
    ["keeps one inside a character", "split(█)", "')'", "')'", "java"],
    ["keeps one inside a comment", "f(█)", "a /* :) */, b", "a /* :) */, b"],
    ["keeps one inside a regular expression", "s.match(█)", "/[)]/g", "/[)]/g"],
    ["passes over apostrophes of lifetimes", "fn f(a: &█)", "'a str) -> &'a str {", "'a str", "rust"],
    ["counts no bracket of a regular expression above", "const r = /\\(/;\nif (a) {\n  █", "b();\n}", "b();\n}"],
    ["ends before the quote behind the cursor", "describe('fi█')", "ndAll', () => {", "ndAll"],
    ["ends before the quote at the beginning of a text", 'print("█")', 'hello", name)', "hello", "python"],
    ["ends before the quote and bracket behind it", 'd["█"]', 'key"] = 5', "key", "python"],
    ["keeps a quote that the text escapes", "x = '█'", "it\\'s', y", "it\\'s"],
    ["ends before the angle behind the cursor", "List<█> x;", "Map<A, B>> y", "Map<A, B>", "java"],
    ["keeps brackets of prose", "It is so█", " :) and on", " :) and on", "markdown"],
    ["does nothing where none stands behind", "f(█", "a);", "a);"],
    ["counts characters beyond the basic plane", "f(█)", "'😀😀', b)", "'😀😀', b"],
  ],
  trimSuffixOverlap: [
    ["removes the quote behind the cursor", 'name = "█"', 'ann"', "ann"],
    ["removes what the line goes on with", "f(█, b)", "a, b)", "a"],
    ["removes lines that follow", "def f():█\n    return 1\n", "\n    x = 1\n    return 1", "\n    x = 1"],
    ["keeps a text that only shares a blank", "x█\n  y", "a\n ", "a\n "],
    ["keeps the bracket of a call inside", "foo(█)", "bar()", "bar()"],
    ["keeps the bracket of an object inside", "f({█})", "a: {b: 1}", "a: {b: 1}"],
    ["keeps the angle of a type inside", "List<█> x;", "Map<A, B>", "Map<A, B>", "java"],
    ["keeps a string of its own", "f(█')", "'a'", "'a'"],
  ],
  trimTrailingWhitespace: [
    ["at the end", "x = █", "1  \n\t", "1"],
    ["in empty lines", "x = █", "1\n   \n2", "1\n\n2"],
    ["not at the beginning", "x =█", " 1", " 1"],
    ["not before the rest of the line", 's = "Hello █world"', "big ", "big "],
    ["but before a bracket", "f(█)", "a ", "a"],
  ],
  dropEmpty: [
    ["drops blanks", "x█", " \t\n", ""],
    ["keeps anything else", "x█", " ;", " ;"],
  ],
};

describe.each(filters.map((filter) => [filter.name, filter] as const))("%s", (name, filter) => {
  it("has cases", () => expect(cases[name]?.length).toBeGreaterThan(0));

  for (const [what, marked, text, expected, languageId = "typescript"] of cases[name] ?? []) {
    it(what, () => {
      const document = contextAt(marked, { languageId });
      const rule = extentRule(document, extentOf(document, defaultSettings.completion), 8);
      expect(filter.apply(text, { document, rule })).toBe(expected);
    });
  }
});
