import { vocabularyFromGguf } from "../../tokenizer/ggufVocabulary.js";
import type { TokenizerSource } from "../../tokenizer/vocabulary.js";
import type { GgufFile } from "./header.js";
import type { Metadata } from "./metadata.js";

const key = (name: string) => `tokenizer.ggml.${name}`;
/** The tokenizer of a file, undecoded until its vocabulary is asked for. Undefined where the file has none. */
export function ggufTokenizer({ file, size, mtimeNs, metadata }: GgufFile): TokenizerSource | undefined {
  const tokens = metadata.texts(key("tokens"));
  if (!tokens) return undefined;
  return {
    file,
    fingerprint: `${size} ${mtimeNs}`,
    vocabulary: async () =>
      vocabularyFromGguf({
        file,
        model: metadata.text(key("model")),
        pre: metadata.text(key("pre")),
        tokens: tokens.all(),
        merges: metadata.texts(key("merges"))?.all() ?? [],
        tokenTypes: tokenTypes(metadata),
        scoreCount: metadata.arrayLength(key("scores")),
        addBos: metadata.flag(key("add_bos_token")),
        specialIds: specialIds(metadata),
      }),
  };
}

function tokenTypes(metadata: Metadata): Int32Array | undefined {
  const types = metadata.integers(key("token_type"));
  return types && Int32Array.from({ length: types.length }, (_, i) => types.at(i));
}

function specialIds(metadata: Metadata): ReadonlyMap<string, number> {
  const ids = new Map<string, number>();
  for (const name of metadata.keys()) {
    if (!/^tokenizer\.ggml\..*_token_id$/.test(name)) continue;
    ids.set(name, metadata.integer(name, 0, 2 ** 31 - 1)!);
  }
  return ids;
}

/** Tokens that end a text or a turn, by what the file says. */
export function ggufEndIds(metadata: Metadata): readonly number[] {
  const ids = specialIds(metadata);
  return ["eos", "eot", "eom"].map((name) => ids.get(key(`${name}_token_id`))).filter((id) => id !== undefined);
}
