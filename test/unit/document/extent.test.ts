import { describe, expect, it } from "vitest";
import { endOfExtent, extentRule, indentationWidth, nextFilledLine } from "../../../server/src/document/extent.js";
import { extentOf, refusalByTrigger } from "../../../server/src/completion/trigger.js";
import { defaultSettings } from "../../../server/src/config/config.js";
import { contextAt } from "../../support/completion.js";

const { completion } = defaultSettings;

describe("one line or a block", () => {
  it.each([
    ["x = █", "line"],
    ["f(█)", "line"],
    ["█\n", "block"],
    ["def f():\n    █\n", "block"],
    ["def f():█", "block"],
    ["if (a) {█", "block"],
    ["if (a) { █", "block"],
    ["values.map((value) =>█", "block"],
    ["call(█", "block"],
    ["if (a) {█}", "line"],
    ["for i in range(3); do█", "block"],
    ["undo█", "line"],
  ] as const)("%j: %s", (document, extent) => {
    expect(extentOf(contextAt(document), completion)).toBe(extent);
  });

  it("is one line when the settings allow only one", () => {
    expect(extentOf(contextAt("{█"), { ...completion, multiline: "never" })).toBe("line");
    expect(extentOf(contextAt("{█"), { ...completion, maxLines: 1 })).toBe("line");
  });
});

describe("where a suggestion ends", () => {
  const end = (document: string, text: string, complete = false, maxLines = 8) => {
    const context = contextAt(document);
    const length = endOfExtent(text, extentRule(context, extentOf(context, completion), maxLines), complete);
    return length === undefined ? undefined : text.slice(0, length);
  };

  it.each([
    ["a line that goes on", "x = █", "foo(", undefined],
    ["a line that broke", "x = █", "foo()\n", "foo()"],
    ["a block that goes on", "def f():█", "\n    a()\n    b()", undefined],
    ["indentation that is still written", "def f():█", "\n    a()\n  ", undefined],
    ["a dedent", "def f():█", "\n    a()\nx", "\n    a()"],
    ["a blank line", "def f():█", "\n    a()\n\n    b()", "\n    a()"],
    ["a bracket that may go on", "if (a) {█", "\n  b();\n}", undefined],
    ["a bracket alone on its line", "if (a) {█", "\n  b();\n}\n", "\n  b();\n}"],
    ["a bracket with a semicolon", "f = () => {█", "\n  b();\n};\n", "\n  b();\n};"],
    ["a bracket that goes on as something else", "if (a) {█", "\n  b();\n} else {", "\n  b();"],
    ["a bracket that the document has", "if (a) {█\n}\n", "\n  b();\n}\n", "\n  b();"],
    ["lines beside the cursor's", "    █", "a()\n    b()\n  c()", "a()\n    b()"],
    ["an unindented line that the model indents itself", "█", "    a()\n    b()\nc()", "    a()\n    b()"],
  ])("%s", (_what, document, text, expected) => {
    expect(end(document, text)).toBe(expected);
  });

  it("counts the last line as whole when nothing will follow", () => {
    expect(end("if (a) {█", "\n  b();\n}", true)).toBe("\n  b();\n}");
    expect(end("def f():█", "\n    a()\n", true)).toBe("\n    a()");
  });

  it("stops as soon as the last allowed line has ended", () => {
    expect(end("def f():█", "\n    a()\n    b()\n", false, 2)).toBe("\n    a()\n    b()");
  });
});

describe("places where typing asks for nothing", () => {
  it.each([
    ["fo█o", "midWord"],
    ["f█(a)", "midLine"],
    ["(█a)", "midLine"],
    ["x = █+ 1", "midLine"],
    ["größ█e", "midWord"],
    ["", "emptyDocument"],
  ])("%j: %s", (document, reason) => {
    expect(refusalByTrigger(contextAt(document || "█"), false)).toBe(reason);
    expect(refusalByTrigger(contextAt(document || "█"), true)).toBeUndefined();
  });

  it.each(["f(█)", "f('█')", "[{a: █}]", "x = █", "x = █   ", "f(a, █),", "x: █;"])("asks at %j", (document) => {
    expect(refusalByTrigger(contextAt(document), false)).toBeUndefined();
  });
});

it("measures indentation in columns and finds the next line", () => {
  expect(["  a", "\ta", "\t  a", "a", ""].map(indentationWidth)).toEqual([2, 4, 6, 0, 0]);
  expect(nextFilledLine("rest\n\n   \n  next  \nother")).toBe("  next");
  expect(nextFilledLine("rest")).toBe("");
});
