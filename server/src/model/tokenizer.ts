/** Text to ids and ids to bytes. Everything else in the server and the engine sees one or the other. */
export interface Tokenizer {
  /** Highest token id + 1, added tokens included. */
  readonly vocabSize: number;
  /**
   * Ids of document text. Names of special tokens in it are ordinary text, so that no document can
   * steer the prompt; lone surrogates become U+FFFD.
   */
  encode(text: string): Int32Array;
  /** Like `encode`, but names of added tokens (`<|im_start|>`, `<think>`, …) become their ids. */
  encodeWithSpecialTokens(text: string): Int32Array;
  /** Id of a token by its exact name, for prompt formats: `idOf("<|fim_prefix|>")`. */
  idOf(token: string): number | undefined;
  /** True for control tokens, which never appear in text. `<think>` is not one. */
  isSpecial(id: number): boolean;
  /** The exact bytes of one token; empty for special tokens and ids out of range. */
  bytesOf(id: number): Uint8Array;
  /** Text of all ids; special tokens are skipped, incomplete UTF-8 becomes U+FFFD. */
  detokenize(ids: Iterable<number>): string;
  createDetokenizer(): Detokenizer;
}

/** Turns a stream of ids into text that never splits a character. */
export interface Detokenizer {
  /** Text that became complete with this id; empty while a character is still incomplete. */
  push(id: number): string;
  /** What is left at the end: U+FFFD for an incomplete character, otherwise empty. */
  end(): string;
}
