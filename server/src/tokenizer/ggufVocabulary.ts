import { plainText } from "../plainText.js";
import { type NamedSplit, namedSplit, splitNames } from "./splits.js";
import {
  type AddedToken,
  badTokenizer,
  checkVocabulary,
  isControlToken,
  unsupportedTokenizer,
  type Vocabulary,
} from "./vocabulary.js";

/** What a GGUF file says about its tokenizer, under the keys beside the fields. Arrays are as long as in the file. */
export interface GgufTokenizer {
  readonly file: string;
  /** `tokenizer.ggml.model` */
  readonly model: string | undefined;
  /** `tokenizer.ggml.pre` */
  readonly pre: string | undefined;
  /** `tokenizer.ggml.tokens` */
  readonly tokens: readonly string[];
  /** `tokenizer.ggml.merges` */
  readonly merges: readonly string[];
  /** `tokenizer.ggml.token_type` */
  readonly tokenTypes: ArrayLike<number> | undefined;
  /** Length of `tokenizer.ggml.scores`, whose values byte-level BPE does not use. */
  readonly scoreCount: number | undefined;
  /** `tokenizer.ggml.add_bos_token` */
  readonly addBos: boolean | undefined;
  /** Every integer `tokenizer.ggml.*_token_id`, by its whole key. */
  readonly specialIds: ReadonlyMap<string, number>;
}

/** Values of `tokenizer.ggml.token_type`. */
const tokenType = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

/** The vocabulary of a GGUF file. Throws ModelError that names the file and the key. */
export function vocabularyFromGguf(gguf: GgufTokenizer): Vocabulary {
  const { file, tokens, merges, specialIds } = gguf;
  requireByteLevelBpe(gguf);
  const split = splitOf(gguf);
  checkLengths(gguf);
  for (const [key, id] of specialIds) {
    if (id >= 0 && id < tokens.length) continue;
    throw badTokenizer(file, `${plainText(key)} is ${id}, but there are ${tokens.length} tokens`);
  }
  const bosId = specialIds.get("tokenizer.ggml.bos_token_id");
  const addBos = gguf.addBos ?? split.addBos ?? false;
  if (addBos && bosId === undefined) {
    throw badTokenizer(file, "tokenizer.ggml.add_bos_token is true, but tokenizer.ggml.bos_token_id is missing");
  }
  return checkVocabulary({
    file,
    ...sortedTokens(gguf),
    merges,
    split: split.patterns,
    // The format cannot ask for it, and without it a document's own characters come back.
    nfc: false,
    ignoreMerges: split.ignoreMerges ?? false,
    bosId: addBos ? bosId : undefined,
    eosId: specialIds.get("tokenizer.ggml.eos_token_id"),
  });
}

function requireByteLevelBpe({ file, model, tokens, tokenTypes }: GgufTokenizer): void {
  if (model === undefined) throw badTokenizer(file, "tokenizer.ggml.model is missing");
  if (model !== "gpt2") {
    const kind = model === "llama" ? "a SentencePiece tokenizer" : `a tokenizer of the kind "${plainText(model)}"`;
    throw unsupportedTokenizer(file, `it has ${kind}; only byte-level BPE ("gpt2") is supported`);
  }
  const byteTokens = tokenTypes !== undefined && Array.prototype.includes.call(tokenTypes, tokenType.byte);
  if (byteTokens || tokens.includes("<0x0A>")) {
    const what = "its tokenizer falls back to byte tokens such as <0x0A>";
    throw unsupportedTokenizer(file, `${what}; only byte-level BPE is supported`);
  }
}

function splitOf({ file, pre }: GgufTokenizer): NamedSplit {
  if (pre === undefined) {
    throw badTokenizer(file, "tokenizer.ggml.pre is missing, which says how text is split into words");
  }
  const split = namedSplit(pre);
  if (split) return split;
  throw unsupportedTokenizer(
    file,
    `tokenizer.ggml.pre is "${plainText(pre)}", a split that is not known (known: ${splitNames.join(", ")})`,
  );
}

function checkLengths({ file, tokens, merges, tokenTypes, scoreCount }: GgufTokenizer): void {
  if (tokens.length === 0) throw badTokenizer(file, "tokenizer.ggml.tokens is empty");
  if (merges.length === 0) throw badTokenizer(file, "tokenizer.ggml.merges is missing or empty");
  for (const [key, count] of [["token_type", tokenTypes?.length] as const, ["scores", scoreCount] as const]) {
    if (count === undefined || count === tokens.length) continue;
    throw badTokenizer(file, `tokenizer.ggml.${key} has ${count} entries for ${tokens.length} tokens`);
  }
}

function sortedTokens({ file, tokens, tokenTypes }: GgufTokenizer): Pick<Vocabulary, "tokens" | "added" | "size"> {
  const added: AddedToken[] = [];
  let size = 0;
  const words = tokens.map((content, id) => {
    const type = tokenTypes?.[id] ?? tokenType.normal;
    if (!(type >= tokenType.normal && type <= tokenType.unused)) {
      throw badTokenizer(file, `tokenizer.ggml.token_type of token ${id} is ${type}, which is not known`);
    }
    if (type === tokenType.unused) return undefined;
    size = id + 1;
    if (type === tokenType.normal) return content;
    added.push({ id, content, special: isControlToken(content, type !== tokenType.userDefined) });
    return undefined;
  });
  return { tokens: words, added, size };
}
