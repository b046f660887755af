import { readFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { extentRule } from "../../../server/src/document/extent.js";
import { extentOf } from "../../../server/src/completion/trigger.js";
import { defaultSettings } from "../../../server/src/config/config.js";
import { postprocess } from "../../../server/src/postprocess/pipeline.js";
import { contextAt } from "../../support/completion.js";

const golden = readFileSync(path.join(import.meta.dirname, "pipeline.golden.txt"), "utf8");
const cases = golden.split(/^#### /m).slice(1).map(parseCase);

function parseCase(text: string) {
  const match = /^(.*)\n([^]*?)\n----\n([^]*?)\n====\n([^]*)$/.exec(text);
  if (match === null) throw new Error(`not a case: ${text}`);
  const [, title, document, answer, expected] = match as unknown as [string, string, string, string, string];
  return { title, document, answer, expected: expected.replace(/\n+$/, "") };
}

describe("the whole pipeline", () => {
  it("has cases", () => expect(cases.length).toBeGreaterThanOrEqual(8));

  it.each(cases)("$title", ({ document: marked, answer, expected }) => {
    const document = contextAt(marked);
    const rule = extentRule(document, extentOf(document, defaultSettings.completion), 8);
    const first = postprocess(answer, { document, rule });
    expect(first.text).toBe(expected);
    expect(postprocess(first.text, { document, rule }).text).toBe(expected);
  });

  it("names the filters that changed the text", () => {
    const document = contextAt("f(█)");
    const rule = extentRule(document, "line", 8);
    expect(postprocess("a) ", { document, rule }).changedBy).toEqual(["cutAtCloser"]);
    expect(postprocess("a", { document, rule }).changedBy).toEqual([]);
  });
});
