import { ModelError } from "../modelError.js";
import { plainText } from "../plainText.js";

/**
 * A byte-level BPE vocabulary as plain data, whatever file it comes from. Readers hand it over once; the tokenizer
 * works on a compact table that is built from it.
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
  /** JavaScript patterns (flag `u`) that cut text into words, one after the other; what lies between matches is one too. */
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

/** Where a tokenizer comes from. The vocabulary is read only when no fresh table lies beside the packed weights. */
export interface TokenizerSource {
  /** The file that messages name. */
  readonly file: string;
  /** Changes whenever the vocabulary may have changed. */
  readonly fingerprint: string;
  /** Throws ModelError that names the file and what is wrong with it. */
  vocabulary(): Promise<Vocabulary>;
}

/** Bounds of what a file may claim; the largest vocabularies in use have 262,144 tokens and 510,000 merges. */
export const maxTokens = 1 << 20;
export const maxMerges = 1 << 21;
export const maxTokenLength = 1 << 16;

/** An error about a tokenizer: `what` is the middle of the sentence. */
export function badTokenizer(file: string, what: string): ModelError {
  return new ModelError("badFile", `${file}: ${what}. Fetch the file again, or choose another model.`);
}

export function unsupportedTokenizer(file: string, what: string): ModelError {
  return new ModelError(
    "unsupported",
    `${file}: ${what}. Choose a model with a byte-level BPE tokenizer, such as Qwen2.5-Coder.`,
  );
}

/**
 * Whether an added token is a control token. Some files do not mark those of fill-in-the-middle, which must not
 * appear in text either.
 */
export function isControlToken(content: string, marked: boolean): boolean {
  return marked || /^<\|[^]*\|>$|^<｜[^]*｜>$|^<fim[-_]/u.test(content);
}

/** Checks what holds for every vocabulary. Merges are checked where they are looked up. Throws ModelError. */
export function checkVocabulary(vocabulary: Vocabulary): Vocabulary {
  const { file, tokens, merges, added, size } = vocabulary;
  if (size > maxTokens) throw badTokenizer(file, `the tokenizer has ${size} tokens, more than ${maxTokens}`);
  if (merges.length > maxMerges) {
    throw badTokenizer(file, `the tokenizer has ${merges.length} merges, more than ${maxMerges}`);
  }
  const contents = new Set<string>();
  for (const { id, content } of added) {
    checkText(file, id, content);
    if (contents.has(content)) throw duplicate(file, content);
    contents.add(content);
  }
  tokens.forEach((token, id) => token !== undefined && checkText(file, id, token));
  for (const id of [vocabulary.bosId, vocabulary.eosId]) {
    if (id !== undefined && !(id >= 0 && id < size)) {
      throw badTokenizer(file, `the first or last token of a text is ${id}, but there are ${size} tokens`);
    }
  }
  return vocabulary;
}

function checkText(file: string, id: number, text: string): void {
  if (text === "") throw badTokenizer(file, `token ${id} is empty`);
  if (text.length <= maxTokenLength) return;
  throw badTokenizer(file, `token ${id} has ${text.length} characters, more than ${maxTokenLength}`);
}

export function duplicate(file: string, token: string): ModelError {
  return badTokenizer(file, `the tokenizer has the token ${plainText(token)} twice`);
}
