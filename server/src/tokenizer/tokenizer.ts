import path from "node:path";
import type { Tokenizer as LibraryTokenizer } from "@huggingface/tokenizers" with { "resolution-mode": "import" };
import { messageOf } from "../files.js";
import { ModelError } from "../modelError.js";
import { readTokenTable, type TokenTable } from "./tokenTable.js";

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

/** The tokenizer of a model directory. */
export async function loadTokenizer(directory: string): Promise<Tokenizer> {
  const table = await readTokenTable(directory);
  if (table) return createTokenizer(table);
  throw new ModelError(
    "io",
    `${path.join(directory, "tokenizer.json")} does not exist. Copy the tokenizer files of the model beside its weights.`,
  );
}

export async function createTokenizer(table: TokenTable): Promise<Tokenizer> {
  const { Tokenizer: Library } = await import("@huggingface/tokenizers");
  try {
    // Without the added tokens the library takes their names in document text for ordinary text.
    return new ByteLevelTokenizer(table, new Library({ ...table.document, added_tokens: [] }, table.config));
  } catch (error) {
    throw new ModelError(
      "unsupported",
      `${table.file} cannot be used: ${messageOf(error)}. Use the tokenizer of a Qwen3.5 model.`,
    );
  }
}

const nothing = new Uint8Array(0);

class ByteLevelTokenizer implements Tokenizer {
  readonly vocabSize: number;
  readonly #table: TokenTable;
  readonly #library: LibraryTokenizer;
  readonly #bytes: readonly (Uint8Array | undefined)[];
  readonly #special: ReadonlySet<number>;
  readonly #addedNames: RegExp | undefined;

  constructor(table: TokenTable, library: LibraryTokenizer) {
    this.vocabSize = table.size;
    this.#table = table;
    this.#library = library;
    this.#bytes = tokenBytes(table);
    this.#special = new Set(table.addedTokens.filter((t) => t.special).map((t) => t.id));
    this.#addedNames = addedNamePattern(table);
  }

  encode(text: string): Int32Array {
    return Int32Array.from(this.#encodePlain(text));
  }

  encodeWithSpecialTokens(text: string): Int32Array {
    if (!this.#addedNames) return this.encode(text);
    const parts = text.split(this.#addedNames);
    // The pattern captures, so that every second part is a token's name.
    return Int32Array.from(parts.flatMap((part, i) => (i % 2 === 1 ? [this.idOf(part)!] : this.#encodePlain(part))));
  }

  #encodePlain(text: string): readonly number[] {
    if (text === "") return [];
    return this.#library.encode(text.replace(/\p{Surrogate}/gu, "\ufffd"), { add_special_tokens: false }).ids;
  }

  idOf(token: string): number | undefined {
    return this.#table.idOf(token);
  }

  isSpecial(id: number): boolean {
    return this.#special.has(id);
  }

  bytesOf(id: number): Uint8Array {
    return this.#bytes[id] ?? nothing;
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

/** Bytes by id. Special tokens have none; other added tokens stand for their own names. */
function tokenBytes(table: TokenTable): readonly (Uint8Array | undefined)[] {
  const bytes = new Array<Uint8Array | undefined>(table.size);
  const byteOf = byteAlphabet();
  for (const [token, id] of Object.entries(table.document.model.vocab)) {
    bytes[id] = Uint8Array.from(token, (character) => byteOf.get(character) ?? 0x3f);
  }
  const encoder = new TextEncoder();
  for (const token of table.addedTokens) bytes[token.id] = token.special ? nothing : encoder.encode(token.content);
  return bytes;
}

/**
 * The characters by which byte-level BPE writes bytes: printable Latin-1 bytes stand for themselves,
 * the others for U+0100 onwards in ascending order.
 */
function byteAlphabet(): ReadonlyMap<string, number> {
  const byteOf = new Map<string, number>();
  let next = 0x100;
  for (let byte = 0; byte < 256; byte++) {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xff && byte !== 0xad);
    byteOf.set(String.fromCharCode(printable ? byte : next++), byte);
  }
  return byteOf;
}

function addedNamePattern({ addedTokens }: TokenTable): RegExp | undefined {
  if (addedTokens.length === 0) return undefined;
  const names = addedTokens.map((t) => t.content).sort((a, b) => b.length - a.length);
  return new RegExp(`(${names.map((name) => name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("|")})`);
}
