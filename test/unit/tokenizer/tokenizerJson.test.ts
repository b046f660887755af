import { writeFileSync } from "node:fs";
import path from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { createTokenizer, type Tokenizer } from "../../../server/src/tokenizer/tokenizer.js";
import { tokenizerSource, vocabularyFromTokenizerJson } from "../../../server/src/tokenizer/tokenizerJson.js";
import { bundledDocument, type BundledDocument } from "../../support/bundledVocabulary.js";
import { temporaryDirectory } from "../../support/modelFiles.js";

let directory: string;
beforeEach(() => (directory = temporaryDirectory()));

async function read(edit: (document: BundledDocument) => void, config?: object): Promise<Tokenizer> {
  const document = bundledDocument();
  edit(document);
  writeFileSync(path.join(directory, "tokenizer.json"), JSON.stringify(document));
  if (config) writeFileSync(path.join(directory, "tokenizer_config.json"), JSON.stringify(config));
  return createTokenizer(await vocabularyFromTokenizerJson(directory));
}

const byteLevel = { type: "ByteLevel", add_prefix_space: false, use_regex: false };
const split = (pattern: object, more: object = {}) => ({
  type: "Split",
  pattern,
  behavior: "Isolated",
  invert: false,
  ...more,
});
const sequence = (...pretokenizers: object[]) => ({ type: "Sequence", pretokenizers });
/** The changes to a document that let it split by one step before bytes. */
const splitBy = (step: object) => (document: BundledDocument) => (document.pre_tokenizer = sequence(step, byteLevel));

test("merges may be written as text or as pairs", async () => {
  const pairs = await read(() => undefined);
  const texts = await read(({ model }) => (model.merges = model.merges.map((pair) => pair.join(" ")) as never));
  expect([...texts.encode("return value;\n")]).toEqual([...pairs.encode("return value;\n")]);
});

test("text is brought into NFC only where the file asks for it", async () => {
  const plain = await read(() => undefined);
  const normal = await read((document) => (document.normalizer = { type: "Sequence", normalizers: [{ type: "NFC" }] }));
  expect(plain.detokenize(plain.encode("e\u0301"))).toBe("e\u0301");
  expect(normal.detokenize(normal.encode("e\u0301"))).toBe("\u00e9");
});

describe("words", () => {
  test.each<[string, object, string[]]>([
    ["of GPT-2 by default", { type: "ByteLevel", add_prefix_space: false }, ["a", "1", " b", "23"]],
    ["by digits", sequence({ type: "Digits", individual_digits: true }, byteLevel), ["a", "1", " b", "2", "3"]],
    ["by runs of digits", sequence({ type: "Digits", individual_digits: false }, byteLevel), ["a", "1", " b", "23"]],
    ["by a text", sequence(split({ String: " " }), byteLevel), ["a1", " ", "b23"]],
    ["not at all", byteLevel, ["a1 b23"]],
  ])("%s", async (_, preTokenizer, words) => {
    const tokenizer = await read((document) => (document.pre_tokenizer = preTokenizer));
    const text = "a1 b23";
    const ends = tokenizer.wordEnds!(text);
    const found = ends.map((end, i) => text.slice(ends[i - 1] ?? 0, end));
    expect(found).toEqual(words);
  });
});

describe("the first token of a prompt", () => {
  const template = {
    type: "TemplateProcessing",
    single: [{ SpecialToken: { id: "<|im_start|>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
  };

  test("stands in a template", async () => {
    const tokenizer = await read((document) => {
      document.post_processor = { type: "Sequence", processors: [{ type: "ByteLevel" }, template] };
    });
    expect(tokenizer.bosId).toBe(tokenizer.idOf("<|im_start|>"));
  });

  test("or in the config", async () => {
    const config = { add_bos_token: true, bos_token: { content: "<|endoftext|>" }, eos_token: "<|im_end|>" };
    const tokenizer = await read(() => undefined, config);
    expect(tokenizer.bosId).toBe(tokenizer.idOf("<|endoftext|>"));
    expect(tokenizer.eosId).toBe(tokenizer.idOf("<|im_end|>"));
  });

  test("is not needed by most", async () => {
    expect((await read(() => undefined, { bos_token: "<|endoftext|>" })).bosId).toBeUndefined();
  });
});

test("a token of the vocabulary that is also an added one is no text", async () => {
  const tokenizer = await read(({ model, added_tokens: added }) => (model.vocab[added[0]!.content] = added[0]!.id));
  expect(tokenizer.isSpecial(tokenizer.idOf("<|endoftext|>")!)).toBe(true);
  expect(tokenizer.bytesOf(tokenizer.idOf("<|endoftext|>")!).length).toBe(0);
});

test("a change of either file makes another fingerprint", async () => {
  expect(await tokenizerSource(directory)).toBeUndefined();
  writeFileSync(path.join(directory, "tokenizer.json"), "{}");
  const first = (await tokenizerSource(directory))!.fingerprint;
  writeFileSync(path.join(directory, "tokenizer_config.json"), "{}");
  expect((await tokenizerSource(directory))!.fingerprint).not.toBe(first);
});

describe("files that cannot be used", () => {
  test.each<[string, (document: BundledDocument) => void, string, RegExp]>([
    ["byte fallback", ({ model }) => (model["byte_fallback"] = true), "unsupported", /SentencePiece/],
    ["marks inside words", ({ model }) => (model["end_of_word_suffix"] = "</w>"), "unsupported", /end of words/],
    ["another normal form", (d) => (d.normalizer = { type: "NFKC" }), "unsupported", /normalizer is NFKC/],
    ["no bytes", (d) => (d.pre_tokenizer = { type: "Whitespace" }), "unsupported", /does not end with ByteLevel/],
    ["a space before every text", splitBy({ ...byteLevel, add_prefix_space: true }), "unsupported", /ByteLevel of a form/],
    ["another behaviour", splitBy(split({ Regex: "a" }, { behavior: "Removed" })), "unsupported", /Split of a form/],
    ["a step that is not known", splitBy({ type: "Punctuation" }), "unsupported", /Punctuation of a form/],
    ["a pattern that is not understood", splitBy(split({ Regex: "a++" })), "unsupported", /pattern of pre_tokenizer/],
    ["a pattern that backtracks", splitBy(split({ Regex: "(a+)+b" })), "unsupported", /repetition/],
    ["an id out of bounds", ({ model }) => (model.vocab["zzzz"] = 5_000_000), "badFile", /zzzz no id below/],
    ["an added id out of bounds", (d) => (d.added_tokens[0]!.id = 5e9), "badFile", /5000000000/],
    ["an id twice", ({ model }) => (model.vocab["zzzz"] = 0), "badFile", /id 0 twice/],
    ["merges of another form", ({ model }) => (model.merges[3] = ["a"] as never), "badFile", /entry 3/],
    ["a merge of unknown tokens", ({ model }) => (model.merges[3] = ["zz", "qqq"]), "badFile", /merge 3 names the token/],
    ["no vocabulary", ({ model }) => (model.vocab = [] as never), "badFile", /model\.vocab is no object/],
  ])("%s", async (_, edit, code, message) => {
    const problem = await read((document) => void edit(document)).then(() => undefined, (error: unknown) => error);
    expect(problem).toMatchObject({ code, message: expect.stringMatching(message) });
    expect((problem as Error).message).toContain("tokenizer.json: ");
  });
});
