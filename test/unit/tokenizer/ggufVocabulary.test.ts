import { describe, expect, test } from "vitest";
import { type GgufTokenizer, vocabularyFromGguf } from "../../../server/src/tokenizer/ggufVocabulary.js";
import { createTokenizer, type Tokenizer } from "../../../server/src/tokenizer/tokenizer.js";
import { smallGguf } from "../../support/bundledVocabulary.js";

function read(changes: Partial<GgufTokenizer> = {}): Tokenizer {
  return createTokenizer(vocabularyFromGguf(smallGguf(changes)));
}

test("types of tokens say what is text and what is not", () => {
  const tokenizer = read();
  expect([...tokenizer.encode("int <|im_end|>")].slice(0, 2)).toEqual([257, 0x20]);
  expect(tokenizer.encode("<|im_end|>").length).toBe(10);
  expect([...tokenizer.encodeWithSpecialTokens("in<|im_end|><think>")]).toEqual([256, 258, 259]);
  expect(tokenizer.isSpecial(258)).toBe(true);
  expect(tokenizer.isSpecial(259)).toBe(false);
  expect(tokenizer.detokenize([257, 258, 259, 260])).toBe("int<think>");
  expect(tokenizer.eosId).toBe(258);
});

test("padding at the end of the vocabulary does not count", () => {
  const tokenizer = read();
  expect(tokenizer.vocabSize).toBe(260);
  expect(tokenizer.idOf("[PAD260]")).toBeUndefined();
});

test("without types every token is an ordinary one, found by its name all the same", () => {
  const tokenizer = read({ tokenTypes: undefined });
  expect(tokenizer.vocabSize).toBe(261);
  expect(tokenizer.idOf("<|im_end|>")).toBe(258);
});

test("a fill-in-the-middle token that is not marked is a control token", () => {
  const tokens = smallGguf().tokens.map((token) => (token === "<think>" ? "<|fim_middle|>" : token));
  expect(read({ tokens }).isSpecial(259)).toBe(true);
});

describe("the first token of a prompt", () => {
  const specialIds = new Map([["tokenizer.ggml.bos_token_id", 258]]);

  test.each([
    ["qwen2", undefined, undefined],
    ["qwen2", true, 258],
    ["llama-bpe", undefined, 258],
    ["llama-bpe", false, undefined],
    ["deepseek-coder", true, 258],
  ] as const)("%s, add_bos_token %s: %s", (pre, addBos, bosId) => {
    expect(read({ pre, addBos, specialIds }).bosId).toBe(bosId);
  });

  test("that is asked for and missing is an error", () => {
    expect(() => read({ addBos: true, specialIds: new Map() })).toThrow(/model\.gguf: .*bos_token_id is missing/);
  });
});

describe("files that cannot be used", () => {
  const { tokens, merges, tokenTypes } = smallGguf();
  const replaced = (id: number, token: string) => tokens.with(id, token);
  const specialId = (name: string, id: number) => ({ specialIds: new Map([[`tokenizer.ggml.${name}_token_id`, id]]) });

  test.each<[string, Partial<GgufTokenizer>, string, RegExp]>([
    ["no model", { model: undefined }, "badFile", /tokenizer\.ggml\.model is missing/],
    ["SentencePiece", { model: "llama" }, "unsupported", /SentencePiece/],
    ["another kind", { model: "bert](http://x)" }, "unsupported", /kind "bert\] \(http/],
    ["no split", { pre: undefined }, "badFile", /tokenizer\.ggml\.pre is missing/],
    ["an unknown split", { pre: "kimi-k2" }, "unsupported", /"kimi-k2".*known: qwen2/],
    ["no tokens", { tokens: [], tokenTypes: [] }, "badFile", /tokens is empty/],
    ["no merges", { merges: [] }, "badFile", /merges is missing or empty/],
    ["fewer types than tokens", { tokenTypes: [1, 1] }, "badFile", /token_type has 2 entries for 261 tokens/],
    ["fewer scores than tokens", { scoreCount: 5 }, "badFile", /scores has 5 entries for 261 tokens/],
    ["a type nobody knows", { tokenTypes: tokens.map(() => 77) }, "badFile", /token 0 is 77/],
    ["byte tokens", { tokenTypes: [...(tokenTypes as number[]).slice(0, 260), 6] }, "unsupported", /<0x0A>/],
    ["byte tokens by name", { tokens: replaced(260, "<0x0A>") }, "unsupported", /<0x0A>/],
    ["a token twice", { tokens: replaced(257, "in"), merges: ["i n"] }, "badFile", /token in twice/],
    ["an added token twice", { tokens: replaced(259, "<|im_end|>") }, "badFile", /twice/],
    ["an empty token", { tokens: replaced(0, "") }, "badFile", /token 0 is empty/],
    ["a special id out of range", specialId("eot", 261), "badFile", /eot_token_id is 261/],
    ["a negative special id", specialId("eos", -1), "badFile", /eos_token_id is -1/],
    ["a merge of an unknown token", { merges: [...merges, "in xyz"] }, "badFile", /merge 2 names the token xyz/],
    ["a merge into an unknown token", { merges: ["a b"] }, "badFile", /merge 0 names the token ab/],
    ["a merge of one", { merges: ["in"] }, "badFile", /merge 0, in, is no pair/],
    ["a merge of three", { merges: ["a b c"] }, "badFile", /merge 0, a b c, is no pair/],
    ["a very long token", { tokens: replaced(0, "a".repeat(70_000)) }, "badFile", /70000 characters/],
  ])("%s", (_, changes, code, message) => {
    const error = problemOf(() => read(changes));
    expect(error).toMatchObject({ code, message: expect.stringMatching(message) });
    expect((error as Error).message).toMatch(/^model\.gguf: .*\.$/);
  });

  test("too many tokens or merges are refused before anything is built from them", () => {
    const merges = new Array<string>(3_000_000).fill("i n");
    expect(() => read({ merges })).toThrow(/3000000 merges, more than/);
    const tokens = Array.from({ length: 1_100_000 }, (_, i) => `t${i}`);
    expect(() => read({ tokens, tokenTypes: undefined })).toThrow(/1100000 tokens, more than/);
  });
});

function problemOf(action: () => unknown): unknown {
  try {
    action();
  } catch (error) {
    return error;
  }
  return undefined;
}
