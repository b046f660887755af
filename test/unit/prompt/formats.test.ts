import { describe, expect, it } from "vitest";
import { PromptBuilder } from "../../../server/src/prompt/build.js";
import { promptFormats } from "../../../server/src/prompt/registry.js";
import { CharacterTokenizer } from "../../support/fakeEngine.js";

const parts = { fileName: "a.py", prefix: "before", suffix: "after" };
const spell = (tokens: readonly ({ text: string } | { token: string })[]) =>
  tokens.map((part) => ("token" in part ? part.token : part.text)).join("");

describe.each(Object.entries(promptFormats))("the format %s", (name, format) => {
  it("goes by its name", () => expect(format.name).toBe(name));

  it("holds both sides of the cursor once and ends where the middle begins", () => {
    const layout = format.layout(parts);
    const text = spell(layout);
    expect(text.split("before")).toHaveLength(2);
    expect(text.split("after")).toHaveLength(2);
    expect([{ token: "<|fim_middle|>" }, { text: "before" }]).toContainEqual(layout.at(-1));
  });

  it("ends a middle at every control token that it uses", () => {
    const used = format.layout(parts).flatMap((part) => ("token" in part ? [part.token] : []));
    expect(format.stopTokens).toEqual(expect.arrayContaining([...used, "<|im_end|>"]));
  });

  it("can be built without text on either side", () => {
    const tokenizer = new CharacterTokenizer();
    const text = { uri: "u", fileName: "a.py", prefix: "", suffix: "", prefixStart: 0, documentLength: 0 };
    const { ids } = new PromptBuilder(tokenizer, format).build(text, { prefixTokens: 10, suffixTokens: 10 });
    expect(tokenizer.spell(ids)).toBe(spell(format.layout({ fileName: "a.py", prefix: "", suffix: "" })));
  });

  it("is refused by a tokenizer that lacks one of its tokens", () => {
    expect(() => new PromptBuilder(new CharacterTokenizer(["<|fim_suffix|>"]), format)).toThrow(/<\|fim_suffix\|>.*Choose a model/);
  });
});

it("puts the suffix first in joined and spm and the prefix first in psm", () => {
  expect(spell(promptFormats.joined.layout(parts))).toBe("<|fim_suffix|>after<|fim_prefix|><|file_sep|>a.py\nbefore");
  expect(spell(promptFormats.spm.layout(parts))).toBe(
    "<|fim_suffix|>after<|fim_prefix|><|file_sep|>a.py\nbefore<|fim_middle|>",
  );
  expect(spell(promptFormats.psm.layout(parts))).toBe("<|fim_prefix|>before<|fim_suffix|>after<|fim_middle|>");
});

it.each([promptFormats.joined, promptFormats.spm])("tokenizes the prefix apart from the file name in $name, as in training", ({ layout }) => {
  const parts = layout({ fileName: "a.py", prefix: "\n    x", suffix: "" });
  expect(parts).toContainEqual({ text: "a.py\n" });
  expect(parts).toContainEqual({ text: "\n    x" });
});
