import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { gunzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { ChunkedTokenizer } from "../../../server/src/prompt/chunks.js";
import { vocabularyFromGguf } from "../../../server/src/tokenizer/ggufVocabulary.js";
import { createTokenizer, type Tokenizer } from "../../../server/src/tokenizer/tokenizer.js";
import { vocabularyFromTokenizerJson } from "../../../server/src/tokenizer/tokenizerJson.js";
import { bundledDocument, bundledGguf } from "../../support/bundledVocabulary.js";
import { temporaryDirectory } from "../../support/modelFiles.js";

/** Made by `training/goldens/make_tokenizer.py`. */
interface Golden {
  preTokenizers: Record<string, unknown[]>;
  nfc: string[];
  ignoreMerges: string[];
  addedMerges: [string, string][];
  cases: { text: string; ids: Record<string, number[]> }[];
}
const file = path.join(import.meta.dirname, "../../golden/tokenizer.json.gz");
const golden = JSON.parse(gunzipSync(readFileSync(file)).toString()) as Golden;
const splits = Object.keys(golden.preTokenizers);

describe.each(splits)("ids by the split %s are those of the library tokenizers", (split) => {
  const nfc = golden.nfc.includes(split);

  test("read from tokenizer.json", async () => {
    const tokenizer = await fromTokenizerJson(split);
    for (const { text, ids } of golden.cases) expect([...tokenizer.encode(text)], text).toEqual(ids[split]);
  });

  test("read from GGUF, which knows no normal form", () => {
    const tokenizer = createTokenizer(vocabularyFromGguf(bundledGguf(split, golden.addedMerges)));
    for (const { text, ids } of golden.cases) {
      expect([...tokenizer.encode(nfc ? text.normalize("NFC") : text)], text).toEqual(ids[split]);
      expect(tokenizer.detokenize(tokenizer.encode(text))).toBe(text);
    }
  });

  test("come from parts of a text as well", async () => {
    const chunks = new ChunkedTokenizer(await fromTokenizerJson(split));
    expect(chunks.chunked).toBe(true);
    for (const { text, ids } of golden.cases) {
      if (chunks.split(text).some((part) => part.length === 512)) continue;
      expect(chunks.encode(text).flatMap((part) => [...part]), text).toEqual(ids[split]);
    }
  });
});

test("the texts tell the splits apart", () => {
  const ids = splits.map((split) => JSON.stringify(golden.cases.map((one) => one.ids[split])));
  expect(new Set(ids).size).toBe(splits.length);
});

async function fromTokenizerJson(split: string): Promise<Tokenizer> {
  const directory = temporaryDirectory();
  const document = bundledDocument(golden.addedMerges);
  document.pre_tokenizer = { type: "Sequence", pretokenizers: golden.preTokenizers[split] };
  document.normalizer = golden.nfc.includes(split) ? { type: "NFC" } : null;
  document.model.ignore_merges = golden.ignoreMerges.includes(split);
  writeFileSync(path.join(directory, "tokenizer.json"), JSON.stringify(document));
  return createTokenizer(await vocabularyFromTokenizerJson(directory));
}
