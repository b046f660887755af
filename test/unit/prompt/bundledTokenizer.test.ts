import { readFileSync } from "node:fs";
import path from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { findModel } from "../../../server/src/models/findModel.js";
import type { Tokenizer } from "../../../server/src/tokenizer/tokenizer.js";
import { PromptBuilder, fullBudget } from "../../../server/src/prompt/build.js";
import { ChunkedTokenizer } from "../../../server/src/prompt/chunks.js";
import { fimFamilies } from "../../../server/src/prompt/fimFamilies.js";
import { contextAt } from "../../support/completion.js";
import { tokenizerIn } from "../../support/tokenizerFiles.js";
import { sourcesIn } from "../../architecture/sources.js";

const sources = [...sourcesIn("server/src/completion", [".ts"]), ...sourcesIn("training/pipo", [".py"]), ...sourcesIn("kernels/reference", [".cpp"])];

describe("the bundled model's tokenizer", () => {
  let tokenizer: Tokenizer;
  beforeAll(async () => {
    tokenizer = await tokenizerIn(await findModel(undefined));
  });

  it("gives the parts of real sources the ids of the whole", () => {
    const chunks = new ChunkedTokenizer(tokenizer);
    expect(chunks.chunked).toBe(true);
    for (const { path: file, text } of sources) {
      for (const source of [text, text.replaceAll("  ", "\t"), text.replaceAll("\n", "\r\n")]) {
        const parts = chunks.encode(source).flatMap((ids) => [...ids]);
        expect(parts.length, file).toBe(tokenizer.encode(source).length);
        expect(parts, file).toEqual([...tokenizer.encode(source)]);
      }
    }
  });

  it("lays a prompt out below 2 ms while somebody types", () => {
    const text = readFileSync(path.join(import.meta.dirname, "../../../server/src/completion/service.ts"), "utf8");
    const prompts = new PromptBuilder(tokenizer, fimFamilies.find(({ name }) => name === "joined")!);
    const times = Array.from({ length: 60 }, (_, typed) => {
      const context = contextAt(`${text}\n  ${"value.add(".slice(0, typed % 11)}█\n${text}`);
      const startedAt = performance.now();
      prompts.build(context, fullBudget);
      return performance.now() - startedAt;
    });
    expect(times.slice(10).sort((a, b) => a - b)[12]).toBeLessThan(2);
  });
});
