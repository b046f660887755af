import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { ModelConfig } from "../../../server/src/engine/addon.js";
import { describeModel } from "../../support/described.js";
import { golden, goldenGgufs } from "../../support/modelFiles.js";

interface Recorded {
  readonly config: readonly ModelConfig[];
  readonly tokenize: readonly { readonly text: string; readonly ids: readonly number[] }[];
}

/** Numbers as 32 bits hold them: GGUF keeps no more. */
function rounded(config: unknown): unknown {
  return JSON.parse(JSON.stringify(config, (_key, value: unknown) => (typeof value === "number" ? Math.fround(value) : value)));
}

describe.each(goldenGgufs)("%s", (name) => {
  const recorded = JSON.parse(readFileSync(golden(`${name}.json`), "utf8")) as Recorded;

  test("the config is the one recorded", async () => {
    const { description } = await describeModel(golden(`${name}.gguf`));
    expect(rounded(description.config)).toEqual(rounded(recorded.config[0]));
  });

  test("texts are cut as `tokenizers` cuts them", async () => {
    const { tokenizer } = await describeModel(golden(`${name}.gguf`));
    const found = recorded.tokenize.map(({ text }) => ({ text, ids: [...(tokenizer?.encode(text) ?? [])] }));
    expect(found).toEqual(recorded.tokenize);
  });
});
