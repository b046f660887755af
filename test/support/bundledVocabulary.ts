import { readFileSync } from "node:fs";
import path from "node:path";
import { byteCharacters } from "./tokenizerFiles.js";
import type { GgufTokenizer } from "../../server/src/tokenizer/ggufVocabulary.js";

const file = path.join(import.meta.dirname, "../../models/pipo-code-9m/tokenizer.json");

/**
 * The bundled model's `tokenizer.json` as an object, to be changed: a real vocabulary that every checkout has.
 * `merges` are added at its end.
 */
export function bundledDocument(merges: readonly [string, string][] = []): BundledDocument {
  const document = JSON.parse(readFileSync(file, "utf8")) as BundledDocument;
  const after = Math.max(...document.added_tokens.map(({ id }) => id)) + 1;
  for (const [i, [left, right]] of merges.entries()) {
    document.model.vocab[left + right] = after + i;
    document.model.merges.push([left, right]);
  }
  return document;
}

export interface BundledDocument {
  added_tokens: { id: number; content: string; special: boolean }[];
  normalizer: unknown;
  pre_tokenizer: unknown;
  post_processor: unknown;
  model: {
    vocab: Record<string, number>;
    merges: [string, string][];
    ignore_merges: boolean;
    [field: string]: unknown;
  };
}

/** The same as a GGUF file would have it. */
export function bundledGguf(pre: string, merges: readonly [string, string][] = []): GgufTokenizer {
  const { model, added_tokens: added } = bundledDocument(merges);
  const tokens: string[] = [];
  for (const [token, id] of Object.entries(model.vocab)) tokens[id] = token;
  const tokenTypes = Array.from(tokens, () => 1);
  for (const { id, content, special } of added) {
    tokens[id] = content;
    tokenTypes[id] = special ? 3 : 4;
  }
  return {
    file: "model.gguf",
    model: "gpt2",
    pre,
    tokens,
    merges: model.merges.map((pair) => pair.join(" ")),
    tokenTypes,
    scoreCount: undefined,
    addBos: false,
    specialIds: new Map([
      ["tokenizer.ggml.bos_token_id", added[0]!.id],
      ["tokenizer.ggml.eos_token_id", added[2]!.id],
    ]),
  };
}

/** A GGUF tokenizer of the 256 bytes, two merges and three tokens of other types, to be made wrong. */
export function smallGguf(changes: Partial<GgufTokenizer> = {}): GgufTokenizer {
  return {
    file: "model.gguf",
    model: "gpt2",
    pre: "qwen2",
    tokens: [...byteCharacters, "in", "int", "<|im_end|>", "<think>", "[PAD260]"],
    merges: ["i n", "in t"],
    tokenTypes: [...byteCharacters.map(() => 1), 1, 1, 3, 4, 5],
    scoreCount: undefined,
    addBos: undefined,
    specialIds: new Map([["tokenizer.ggml.eos_token_id", 258]]),
    ...changes,
  };
}
