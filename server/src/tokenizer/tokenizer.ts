import { literalPattern } from "./splitPattern.js";
import { Encoder } from "./encoder.js";
import { readTokenTable, writeTokenTable } from "./tableFile.js";
import { buildTokenTable, idOfBytes, type TokenTable } from "./tokenTable.js";
import { writeTokenBytes } from "./byteAlphabet.js";
import { maxTokenLength, type TokenizerSource, type Vocabulary } from "./vocabulary.js";

/** Text to ids and ids to bytes. Everything else in the server and the engine sees one or the other. */
export interface Tokenizer {
  /** Highest token id + 1, added tokens included. */
  readonly vocabSize: number;
  /** Token that every prompt must begin with; undefined for families that want none. */
  readonly bosId?: number | undefined;
  /** Token that ends a text, by what the model's files say. */
  readonly eosId?: number | undefined;
  /**
   * Ids of document text. Names of special tokens in it are ordinary text, so that no document can
   * steer the prompt; lone surrogates become U+FFFD.
   */
  encode(text: string): Int32Array;
  /** Like `encode`, but names of added tokens (`<|im_start|>`, `<think>`, …) become their ids. */
  encodeWithSpecialTokens(text: string): Int32Array;
  /** Where each word of a text ends, in UTF-16 units: no token reaches beyond one. Absent where words are not known. */
  wordEnds?(text: string): readonly number[];
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

/**
 * The tokenizer of a source. With `tableFile` its table is taken from there while it is fresh, else built and kept
 * there. Throws ModelError that names the source's file.
 */
export async function loadTokenizer(source: TokenizerSource, tableFile?: string): Promise<Tokenizer> {
  const kept = tableFile === undefined ? undefined : await readTokenTable(tableFile, source.fingerprint);
  if (kept) return new ByteLevelTokenizer(kept);
  const table = buildTokenTable(await source.vocabulary(), source.fingerprint);
  if (tableFile !== undefined) await writeTokenTable(tableFile, table);
  return new ByteLevelTokenizer(table);
}

export function createTokenizer(vocabulary: Vocabulary): Tokenizer {
  return new ByteLevelTokenizer(buildTokenTable(vocabulary, ""));
}

const nothing = new Uint8Array(0);

class ByteLevelTokenizer implements Tokenizer {
  readonly #table: TokenTable;
  readonly #encoder: Encoder;
  readonly #special: ReadonlySet<number>;
  readonly #addedIds: ReadonlyMap<string, number>;
  readonly #addedNames: RegExp | undefined;

  constructor(table: TokenTable) {
    this.#table = table;
    this.#encoder = new Encoder(table);
    this.#special = new Set(table.added.filter((t) => t.special).map((t) => t.id));
    this.#addedIds = new Map(table.added.map((t) => [t.content, t.id]));
    this.#addedNames = addedNamePattern(table);
  }

  get vocabSize(): number {
    return this.#table.size;
  }

  get bosId(): number | undefined {
    return this.#table.bosId;
  }

  get eosId(): number | undefined {
    return this.#table.eosId;
  }

  encode(text: string): Int32Array {
    return this.#encoder.encode(text);
  }

  encodeWithSpecialTokens(text: string): Int32Array {
    if (!this.#addedNames) return this.encode(text);
    const parts = text.split(this.#addedNames);
    // The pattern captures, so that every second part is a token's name.
    const ids = parts.map((part, i) => (i % 2 === 1 ? Int32Array.of(this.idOf(part)!) : this.encode(part)));
    const all = new Int32Array(ids.reduce((total, { length }) => total + length, 0));
    let at = 0;
    for (const some of ids) {
      all.set(some, at);
      at += some.length;
    }
    return all;
  }

  wordEnds(text: string): readonly number[] {
    return this.#encoder.wordEnds(text);
  }

  idOf(token: string): number | undefined {
    const added = this.#addedIds.get(token);
    if (added !== undefined || token.length > maxTokenLength) return added;
    const bytes = new Uint8Array(token.length);
    const length = writeTokenBytes(token, 0, token.length, bytes, 0);
    const id = length > 0 ? idOfBytes(this.#table, bytes, 0, length) : -1;
    return id < 0 ? undefined : id;
  }

  isSpecial(id: number): boolean {
    return this.#special.has(id);
  }

  bytesOf(id: number): Uint8Array {
    const { offsets, bytes, size } = this.#table;
    return id >= 0 && id < size ? bytes.subarray(offsets[id], offsets[id + 1]) : nothing;
  }

  detokenize(ids: Iterable<number>): string {
    const detokenizer = this.createDetokenizer();
    let text = "";
    for (const id of ids) text += detokenizer.push(id);
    return text + detokenizer.end();
  }

  createDetokenizer(): Detokenizer {
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    return {
      push: (id) => decoder.decode(this.bytesOf(id), { stream: true }),
      end: () => decoder.decode(),
    };
  }
}

function addedNamePattern({ added }: TokenTable): RegExp | undefined {
  if (added.length === 0) return undefined;
  const names = added.map((t) => t.content).sort((a, b) => b.length - a.length);
  return new RegExp(`(${names.map(literalPattern).join("|")})`);
}
