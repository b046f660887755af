import { describe, expect, it } from "vitest";
import { settingsSchema } from "../../../server/src/config/schema.js";
import { chooseFim, type FimHints } from "../../../server/src/prompt/chooseFim.js";
import { PromptBuilder } from "../../../server/src/prompt/build.js";
import { controlTokens, type FimFamily, fimFamilies } from "../../../server/src/prompt/fimFamilies.js";
import { CharacterTokenizer } from "../../support/fakeEngine.js";

const budget = { prefixTokens: 100, suffixTokens: 100 };
const familyOf = (name: string) => fimFamilies.find((family) => family.name === name)!;

/** The prompt of a family as a reader sees it. */
function spelled(family: FimFamily, parts = { fileName: "a.py", prefix: "before", suffix: "after" }): string {
  const tokenizer = new CharacterTokenizer([], controlTokens(family));
  const text = { uri: "u", prefixStart: 0, documentLength: 0, ...parts };
  return tokenizer.spell(new PromptBuilder(tokenizer, family).build(text, budget).ids);
}

describe("prompts of each family", () => {
  it.each([
    ["joined", "<|fim_suffix|>after<|fim_prefix|><|file_sep|>a.py\nbefore"],
    ["spm", "<|fim_suffix|>after<|fim_prefix|><|file_sep|>a.py\nbefore<|fim_middle|>"],
    ["qwen", "<|fim_prefix|>before<|fim_suffix|>after<|fim_middle|>"],
    ["starcoder", "<fim_prefix>before<fim_suffix>after<fim_middle>"],
    ["deepseek", "<｜fim▁begin｜>before<｜fim▁hole｜>after<｜fim▁end｜>"],
    ["mellum", "<filename>a.py\n<fim_suffix>after<fim_prefix>before<fim_middle>"],
    ["seed", "<[fim-suffix]>after<[fim-prefix]>before<[fim-middle]>"],
    ["codellama", "▁<PRE>before▁<SUF>after▁<MID>"],
    ["codestral", "[SUFFIX]after[PREFIX]before"],
  ])("%s", (name, expected) => expect(spelled(familyOf(name))).toBe(expected));

  it("are all of them", () => {
    expect(fimFamilies).toHaveLength(9);
    expect(new Set(fimFamilies.map(({ name }) => name)).size).toBe(9);
  });
});

describe.each(fimFamilies.map((family) => [family.name, family] as const))("the format %s", (name, family) => {
  it("is a value of the setting", () => {
    expect(settingsSchema.parse({ model: { fimFormat: name } }).model.fimFormat).toBe(name);
  });

  it("holds both sides of the cursor once and ends where the middle begins", () => {
    expect(family.pieces.filter((piece) => piece === "prefix")).toHaveLength(1);
    expect(family.pieces.filter((piece) => piece === "suffix")).toHaveLength(1);
    expect(family.pieces.at(-1)).not.toBe("suffix");
  });

  it("ends a middle at every control token that it uses, and where a document ends", () => {
    expect(family.stopTokens).toEqual(expect.arrayContaining([...controlTokens(family), "<|endoftext|>", "<|im_end|>"]));
  });

  it("can be built without text on either side", () => {
    const empty = { fileName: "a.py", prefix: "", suffix: "" };
    expect(spelled(family, empty)).toBe(spelled(family).replace("before", "").replace("after", ""));
  });
});

it("ends middles at padding, repository and separator tokens", () => {
  expect(familyOf("qwen").stopTokens).toEqual(expect.arrayContaining(["<|fim_pad|>", "<|repo_name|>", "<|file_sep|>"]));
  expect(familyOf("starcoder").stopTokens).toEqual(expect.arrayContaining(["<fim_pad>", "<repo_name>", "<file_sep>"]));
});

it.each(["joined", "spm"])("tokenizes the prefix apart from the file name in %s, as in training", (name) => {
  const texts: string[] = [];
  const tokenizer = new CharacterTokenizer();
  const encode = tokenizer.encode.bind(tokenizer);
  tokenizer.encode = (text) => (texts.push(text), encode(text));
  const text = { uri: "u", fileName: "a.py", prefix: "\n    x", suffix: "", prefixStart: 0, documentLength: 0 };
  new PromptBuilder(tokenizer, familyOf(name)).build(text, budget);
  expect(texts).toContain("\n    x");
  expect(texts.filter((piece) => piece.includes("\n\n    x"))).toEqual([]);
});

describe("the format of a model", () => {
  const knowsAll = { idOf: () => 1 };
  const chosen = (hints: Partial<FimHints>, wanted = "auto", tokenizer: Parameters<typeof chooseFim>[1] = knowsAll) => {
    const family = chooseFim({ name: "some-model", ...hints }, tokenizer, wanted);
    return typeof family === "string" ? family : family.name;
  };
  const without = (...tokens: string[]) => ({ idOf: (token: string) => (tokens.includes(token) ? undefined : 1) });

  it.each([
    ["qwen2.5-coder-0.5b-instruct-q4_k_m", "qwen"],
    ["Qwen2.5 Coder 1.5B Instruct GGUF", "qwen"],
    ["CodeQwen1.5-7B", "qwen"],
    ["Qwen3-Coder-30B-A3B", "qwen"],
    ["Qwen3.5-0.8B", "qwen"],
    ["codegemma-2b", "qwen"],
    ["starcoder2-3b", "starcoder"],
    ["granite-3b-code-base", "starcoder"],
    ["deepseek-coder-1.3b-base", "deepseek"],
    ["DeepSeek Coder 6.7B", "deepseek"],
    ["Mellum-4b-base", "mellum"],
    ["Seed-Coder-8B-Base", "seed"],
    ["CodeLlama-7b-hf", "codellama"],
    ["Codestral-22B-v0.1", "codestral"],
  ])("%s is %s", (name, expected) => expect(chosen({ name })).toBe(expected));

  it("is what its card says, whatever its name", () => {
    expect(chosen({ name: "qwen2.5-coder", fimFormat: "joined" })).toBe("joined");
  });

  it("is what its family says where its name says nothing", () => expect(chosen({ family: "mellum" })).toBe("mellum"));

  it("is what the user set, whatever the card says", () => {
    expect(chosen({ name: "qwen2.5-coder", fimFormat: "joined" }, "spm")).toBe("spm");
  });

  it("is among several that models of the name have, the one whose tokens there are", () => {
    expect(chosen({ name: "granite-4.0-1b-base" })).toBe("qwen");
    expect(chosen({ name: "granite-4.0-1b-base" }, "auto", without("<|fim_prefix|>"))).toBe("starcoder");
  });

  it.each(["SmolLM2-135M-Instruct", "Qwen3-0.6B", "Llama-3.2-1B", "Qwen2.5-7B-Instruct"])(
    "%s is none, though the tokens may be in its vocabulary",
    (name) => expect(chosen({ name })).toMatch(/is not known to be trained.*pipo\.model\.fimFormat/),
  );

  it("is refused in words where the tokenizer lacks one of its tokens", () => {
    expect(chosen({ name: "qwen2.5-coder" }, "auto", without("<|fim_middle|>"))).toMatch(/no token <\|fim_middle\|>.*Choose a model/);
    expect(chosen({ name: "x" }, "seed", without("<[fim-middle]>"))).toMatch(/tokenizer of x .*<\[fim-middle\]>.*"seed"/);
  });

  it("is refused in words where the card names one that nobody knows, without its characters of control", () => {
    expect(chosen({ fimFormat: "up\u001b[31mside" })).toMatch(/"up\[31mside"\. Known are joined, spm, qwen/);
  });
});
