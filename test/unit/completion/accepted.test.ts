import { describe, expect, it } from "vitest";
import { parseCursor } from "../../support/cursor.js";
import { type RequestOptions, ServiceUnderTest } from "../../support/completion.js";

interface Case {
  readonly what: string;
  readonly document: string;
  readonly model: string;
  /** The documents that may stand there after the suggestion was accepted; the unchanged one where none is needed. */
  readonly accepted: readonly string[];
  readonly languageId?: string;
  readonly options?: RequestOptions;
}

const cases: readonly Case[] = [
  { what: "a call inside a call", document: "draw(█)\n", model: "shape()", accepted: ["draw(shape())\n"] },
  { what: "a call inside a call, closed twice", document: "show(█)\n", model: "size(y))", accepted: ["show(size(y))\n"] },
  { what: "an object inside an object", document: "set({█})\n", model: "k: {v: 2}", accepted: ["set({k: {v: 2}})\n"] },
  {
    what: "a list inside a list, closed by the line",
    document: "m = [█]\n",
    model: "[1, 2], [3]]",
    accepted: ["m = [[1, 2], [3]]\n"],
    languageId: "python",
  },
  {
    what: "a type inside a type",
    document: "Set<█> names;\n",
    model: "Pair<K, V>",
    accepted: ["Set<Pair<K, V>> names;\n"],
    languageId: "java",
    options: { invoked: true },
  },
  {
    what: "a call behind a selected entry",
    document: "g(list.in█)\n",
    model: "(0, x))",
    accepted: ["g(list.insert(0, x))\n"],
    options: { selected: { typed: "in", text: "insert" } },
  },
  { what: "the quote that the editor closed", document: "test('ad█')\n", model: "ds two', () => {", accepted: ["test('adds two')\n"] },
  { what: "the quote of a key", document: "row['█']\n", model: "name'] = 3", accepted: ["row['name']\n"], languageId: "python" },
  { what: "a smile in a string", document: "say(█)\n", model: "':)'", accepted: ["say(':)')\n"] },
  { what: "nothing where all is closed", document: "y = bar(b)█\n", model: ");", accepted: ["y = bar(b)\n"] },
  { what: "no second closing bracket below", document: "on(() => {\n  █\n\n});\n", model: "go();\n}", accepted: ["on(() => {\n  go();\n\n});\n"] },
  {
    what: "no closing bracket that a longer line holds",
    document: "on(() => {\n  █\n}, 250);\n",
    model: "go();\n});",
    accepted: ["on(() => {\n  go();\n}, 250);\n"],
  },
  { what: "a word in a sentence", document: 's = "Good █day"\n', model: " old ", accepted: ['s = "Good old day"\n'], options: { invoked: true } },
  { what: "an argument in between", document: "call(x, █z)\n", model: " y, z)", accepted: ["call(x, y, z)\n"], options: { invoked: true } },
  { what: "one blank", document: "let n = █\n", model: "  7;", accepted: ["let n = 7;\n"] },
  { what: "the line once", document: "let sum = █\n", model: " let sum = a + b;", accepted: ["let sum = a + b;\n"] },
  { what: "the word once", document: "def mul█\n", model: "def mul(a, b):", accepted: ["def mul(a, b):\n"], languageId: "python" },
  { what: "the indentation of the block", document: "def g():\n    y = 2\n  █\n", model: "  return y", accepted: ["def g():\n    y = 2\n    return y\n"], languageId: "python" },
  {
    what: "tabs where the document has tabs",
    document: "def g():\n\tfor x in y:\n\t\t█\n\tz = 1\n",
    model: "a = 1\n        b = 2",
    accepted: ["def g():\n\tfor x in y:\n\t\ta = 1\n\t\tb = 2\n\tz = 1\n"],
    languageId: "python",
  },
  { what: "code without fences", document: "def g():\n    █\n", model: "```python\nreturn 2\n```", accepted: ["def g():\n    return 2\n"], languageId: "python" },
  { what: "code without thoughts", document: "def g():\n    █\n", model: "<think>\nreturn 2", accepted: ["def g():\n    \n"], languageId: "python" },
  {
    what: "no line that stands below with a comment",
    document: "def g():\n    █\n    y = 2  # second\n",
    model: "x = 1\n    y = 2\n    z = 3",
    accepted: ["def g():\n    x = 1\n    y = 2  # second\n"],
    languageId: "python",
  },
  {
    what: "an element before an element",
    document: '[\n    {\n        "a": 1\n    },\n    █\n    {\n        "b": 2\n    }\n]\n',
    model: '{\n        "c": 3\n    },',
    accepted: ['[\n    {\n        "a": 1\n    },\n    {\n        "c": 3\n    },\n    {\n        "b": 2\n    }\n]\n'],
    languageId: "json",
  },
];

describe("what stands in the document after a suggestion was accepted", () => {
  it.each(cases)("$what", async ({ document, model, accepted, languageId = "javascript", options }) => {
    const result = await new ServiceUnderTest(() => model).complete(document, { languageId, ...options });
    const { text } = parseCursor(document);
    const after =
      result.kind === "empty" ? text : text.slice(0, result.suggestion.start) + result.suggestion.text + text.slice(result.suggestion.end);
    expect(accepted).toContain(after);
  });
});
