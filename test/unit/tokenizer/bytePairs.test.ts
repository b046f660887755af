import { describe, expect, test } from "vitest";
import { vocabularyFromGguf } from "../../../server/src/tokenizer/ggufVocabulary.js";
import { createTokenizer } from "../../../server/src/tokenizer/tokenizer.js";
import { bundledGguf, smallGguf } from "../../support/bundledVocabulary.js";
import { byteCharacters } from "../../support/tokenizerFiles.js";

/** Merges by the definition: as long as there is one, the pair of lowest rank, the leftmost of equals. */
function mergeByDefinition(word: string, merges: readonly string[]): string[] {
  const symbols = [...word];
  for (;;) {
    const ranks = symbols.slice(1).map((right, i) => merges.indexOf(`${symbols[i]} ${right}`));
    const best = Math.min(...ranks.filter((rank) => rank >= 0));
    if (!Number.isFinite(best)) return symbols;
    const at = ranks.indexOf(best);
    symbols.splice(at, 2, symbols[at]! + symbols[at + 1]!);
  }
}

/** A vocabulary over the letters a to d whose merges lie across each other. */
function randomMerges(seed: number): string[] {
  let state = seed;
  const next = (count: number) => (state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0) % count;
  const made = ["a", "b", "c", "d"];
  const merges: string[] = [];
  while (merges.length < 60) {
    const [left, right] = [made[next(made.length)]!, made[next(made.length)]!];
    if (left.length + right.length > 8 || made.includes(left + right)) continue;
    made.push(left + right);
    merges.push(`${left} ${right}`);
  }
  return merges;
}

describe("words short and long are merged by rank, then from the left", () => {
  test.each([1, 2, 3, 4])("random vocabulary %i", (seed) => {
    const merges = randomMerges(seed);
    const tokens = [...byteCharacters, ...merges.map((merge) => merge.replace(" ", ""))];
    const gguf = smallGguf({ tokens, merges, tokenTypes: undefined, specialIds: new Map() });
    const tokenizer = createTokenizer(vocabularyFromGguf(gguf));
    let state = seed;
    for (const length of [1, 2, 3, 5, 9, 17, 47, 48, 49, 50, 200]) {
      const letter = () => "abcd"[((state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0) >>> 16) % 4]!;
      const word = Array.from({ length }, letter).join("");
      const found = Array.from(tokenizer.encode(word), (id) => tokens[id]);
      expect(found, word).toEqual(mergeByDefinition(word, merges));
    }
  });
});

test("a byte that the vocabulary lacks is left out, and its neighbours meet", () => {
  const { tokens, tokenTypes } = smallGguf();
  const types = Array.from(tokenTypes!);
  types[0x0b] = 5;
  const tokenizer = createTokenizer(vocabularyFromGguf(smallGguf({ tokens, tokenTypes: types })));
  expect([...tokenizer.encode(";\u000b;")]).toEqual([0x3b, 0x3b]);
});

test("a word that is a token is that token where the merges do not count", () => {
  const { tokens } = smallGguf();
  const changes = { tokens: [...tokens.slice(0, 257), "tin", ...tokens.slice(258)], merges: ["i n"], addBos: false };
  const read = (pre: string) => createTokenizer(vocabularyFromGguf(smallGguf({ ...changes, pre })));
  expect([...read("llama-bpe").encode("tin")]).toEqual([257]);
  expect([...read("qwen2").encode("tin")]).toEqual([0x74, 256]);
});

describe("one word of a million letters takes no longer than many words", () => {
  const tokenizer = createTokenizer(vocabularyFromGguf(bundledGguf("qwen2")));

  test.each(["a", " ", "return", "数"])("%j", (piece) => {
    const word = piece.repeat(1_000_000 / piece.length);
    const started = performance.now();
    const ids = tokenizer.encode(word);
    expect(performance.now() - started).toBeLessThan(10_000);
    expect(tokenizer.detokenize(ids)).toBe(word);
  });
});
