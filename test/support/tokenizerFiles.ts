import { writeFileSync } from "node:fs";
import path from "node:path";
import { createTokenizer, type Tokenizer } from "../../server/src/tokenizer/tokenizer.js";
import { vocabularyFromTokenizerJson } from "../../server/src/tokenizer/tokenizerJson.js";

/** The tokenizer of a directory with a `tokenizer.json`. */
export async function tokenizerIn(directory: string): Promise<Tokenizer> {
  return createTokenizer(await vocabularyFromTokenizerJson(directory));
}

/** The byte alphabet of byte-level BPE, written down independently of the code under test. */
export const byteCharacters: readonly string[] = Array.from({ length: 256 }, (_, byte) => {
  const printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  if (printable) return String.fromCharCode(byte);
  const before = byte < 33 ? byte : byte < 161 ? byte - 127 + 33 : 33 + 34;
  return String.fromCharCode(256 + before);
});

const split = String.raw`[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+|\s*[\r\n]+[ \t]*|\s+(?!\S)|\s+`;

export const specialTokens = [
  "<|endoftext|>",
  "<|im_start|>",
  "<|im_end|>",
  "<|fim_prefix|>",
  "<|fim_middle|>",
  "<|fim_suffix|>",
];

/**
 * A tokenizer directory in the layout of Hugging Face: ids 0…255 are the bytes in order, then the merges given as
 * pairs of byte-level strings, then the special tokens, then `<think>` and `</think>`, which are not special.
 */
export function writeTokenizer(directory: string, merges: readonly [string, string][] = defaultMerges): void {
  const vocab: Record<string, number> = Object.fromEntries(byteCharacters.map((c, byte) => [c, byte]));
  for (const [a, b] of merges) vocab[a + b] = Object.keys(vocab).length;
  let id = Object.keys(vocab).length;
  const added = (content: string, special: boolean) => ({
    id: id++,
    content,
    special,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
  });
  const document = {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: [...specialTokens.map((t) => added(t, true)), added("<think>", false), added("</think>", false)],
    normalizer: null,
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [
        { type: "Split", pattern: { Regex: split }, behavior: "Isolated", invert: false },
        { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false },
      ],
    },
    post_processor: { type: "ByteLevel", add_prefix_space: false, trim_offsets: false, use_regex: false },
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab,
      merges,
    },
  };
  writeFileSync(path.join(directory, "tokenizer.json"), JSON.stringify(document));
  writeFileSync(
    path.join(directory, "tokenizer_config.json"),
    JSON.stringify({ eos_token: "<|im_end|>", pad_token: "<|endoftext|>" }),
  );
}

const defaultMerges: readonly [string, string][] = [
  ["i", "n"],
  ["r", "e"],
  ["t", "u"],
  ["tu", "r"],
  ["re", "tur"],
  ["retur", "n"],
  ["Ġ", "Ġ"],
];
