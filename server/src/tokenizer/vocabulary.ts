/**
 * A byte-level BPE vocabulary as plain data, whatever file it comes from. Readers hand it over once; the tokenizer works
 * on a compact table that is built from it.
 */
export interface Vocabulary {
  /** The file that it was read from; messages name it. */
  readonly file: string;
  /** Tokens by id as BPE writes them, in the byte alphabet. Undefined where an id has none, or has an added token. */
  readonly tokens: readonly (string | undefined)[];
  /** Merges in order of rank, each as two tokens with one space between them. */
  readonly merges: readonly string[];
  /** Tokens outside BPE, with their text as it is: control tokens and words that the model's authors added. */
  readonly added: readonly AddedToken[];
  /** Highest id that stands for something + 1; ids from there on are padding. */
  readonly size: number;
  /** JavaScript patterns (flag `u`) that cut text into words, one after the other: what a pattern matches is a piece, so is what lies between. */
  readonly split: readonly string[];
  /** Whether text is brought into NFC before it is split. */
  readonly nfc: boolean;
  /** Whether a word that is a token is that token, whatever the merges say. */
  readonly ignoreMerges: boolean;
  /** Token that a prompt must begin with; undefined for families that want none. */
  readonly bosId: number | undefined;
  /** Token that ends a text, by what the files say. */
  readonly eosId: number | undefined;
}

export interface AddedToken {
  readonly id: number;
  readonly content: string;
  /** Control tokens never appear in text. */
  readonly special: boolean;
}

/** What a GGUF file says about its tokenizer, under the keys named beside each field. Arrays are as long as the file says. */
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

/** Where a tokenizer comes from. The vocabulary is read only when no fresh table lies beside the packed weights. */
export interface TokenizerSource {
  /** The file that messages name. */
  readonly file: string;
  /** Changes whenever the vocabulary may have changed. */
  readonly fingerprint: string;
  /** Throws ModelError that names the file and what is wrong with it. */
  vocabulary(): Promise<Vocabulary>;
}
