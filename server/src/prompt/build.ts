import type { Tokenizer } from "../tokenizer/tokenizer.js";
import { ChunkedTokenizer } from "./chunks.js";
import type { FimFamily, FimPiece } from "./fimFamilies.js";
import { type PrefixText, PrefixWindow } from "./window.js";

/** Tokens for the text on either side of the cursor. The side before it matters more and is the one that is reused. */
export interface PromptBudget {
  readonly prefixTokens: number;
  readonly suffixTokens: number;
  /** Tokens that may be computed for one answer. A prompt of which more is new holds only the text nearest to the cursor. */
  readonly newTokens?: number;
}

export const fullBudget: PromptBudget = { prefixTokens: 1_024, suffixTokens: 256 };

/** Tokens that control tokens and a file name may take. */
const layoutReserve = 48;
const smallestBudget = { prefixTokens: 64, suffixTokens: 16 } as const;
/** Of what may be computed for one answer, the part of the text after the cursor. */
const suffixShare = 0.25;

/**
 * The full budget, or as much of it as fits `capacity` tokens; the text after the cursor takes at most `maxSuffixTokens`.
 * `newTokens` is what the machine computes in the time that an answer may take.
 */
export function budgetFor(
  capacity: number,
  maxSuffixTokens = fullBudget.suffixTokens,
  newTokens = Number.POSITIVE_INFINITY,
): PromptBudget {
  const room = capacity - layoutReserve;
  const share = Math.min(1, room / (fullBudget.prefixTokens + fullBudget.suffixTokens));
  const suffixTokens = Math.min(Math.floor(fullBudget.suffixTokens * share), Math.floor(newTokens * suffixShare));
  return {
    prefixTokens: Math.max(smallestBudget.prefixTokens, Math.floor(fullBudget.prefixTokens * share)),
    suffixTokens: Math.min(maxSuffixTokens, Math.max(smallestBudget.suffixTokens, suffixTokens)),
    ...(Number.isFinite(newTokens) && { newTokens }),
  };
}

export interface PromptText extends PrefixText {
  readonly fileName: string;
  readonly suffix: string;
}

export interface Prompt {
  readonly ids: Int32Array;
  /** A space before the cursor that the prompt leaves out and the model has to write itself, where the family wants it so. */
  readonly heldBack: "" | " ";
  /** The text that went in on either side of the cursor. */
  readonly prefix: string;
  readonly suffix: string;
}

/** A tokenizer; `bosId` where prompts begin with a token of their own. */
export type PromptTokenizer = Tokenizer & { readonly bosId?: number | undefined };

/** Text around the cursor to the ids of a prompt. Keeps what makes consecutive prompts begin alike. */
export class PromptBuilder {
  private readonly chunks: ChunkedTokenizer;
  private readonly window: PrefixWindow;
  /** The newest prompt: what the session has computed. */
  private newest: Int32Array = new Int32Array(0);

  /** The tokenizer has every control token of the family. */
  constructor(
    private readonly tokenizer: PromptTokenizer,
    private readonly family: FimFamily,
  ) {
    this.chunks = new ChunkedTokenizer(tokenizer);
    this.window = new PrefixWindow(this.chunks);
  }

  build(text: PromptText, { prefixTokens, suffixTokens, newTokens = Number.POSITIVE_INFINITY }: PromptBudget): Prompt {
    const [suffix, ofSuffix] = this.suffixWithin(text.suffix, suffixTokens);
    const newPrefix = Math.max(smallestBudget.prefixTokens, newTokens - ofSuffix - this.family.pieces.length);
    const choose = () => this.window.choose(text, prefixTokens, Math.min(newPrefix, prefixTokens));
    let prompt = this.promptOf(text, choose(), suffix);
    if (this.newTokensOf(prompt) > newTokens) {
      this.window.forget(text.uri);
      prompt = this.promptOf(text, choose(), suffix);
    }
    this.newest = prompt.ids;
    return prompt;
  }

  forget(uri: string): void {
    this.window.forget(uri);
  }

  private promptOf({ fileName }: PromptText, prefix: string, suffix: string): Prompt {
    const heldBack = this.family.holdsBackSpace && /\S $/.test(prefix) ? " " : "";
    const asked = prefix.slice(0, prefix.length - heldBack.length);
    // Each part is tokenized apart, as in training: the break behind a file's name must not join the prefix's indentation.
    const texts = { fileName: `${fileName}\n`, prefix: asked, suffix };
    const idsOf = (piece: FimPiece) =>
      typeof piece === "string" ? this.chunks.encode(texts[piece]) : [Int32Array.of(this.tokenizer.idOf(piece.token)!)];
    const { bosId } = this.tokenizer;
    const start = bosId === undefined ? [] : [Int32Array.of(bosId)];
    return { ids: joinedIds([...start, ...this.family.pieces.flatMap(idsOf)]), heldBack, prefix, suffix };
  }

  /** Tokens of a prompt that the newest one did not begin with. */
  private newTokensOf({ ids }: Prompt): number {
    const shared = ids.findIndex((id, index) => id !== this.newest[index]);
    return shared < 0 ? 0 : ids.length - shared;
  }

  /** Whole parts of the text after the cursor while they fit, so that the end is the same for the next keystroke. */
  private suffixWithin(suffix: string, budget: number): [text: string, tokens: number] {
    let length = 0;
    let tokens = 0;
    for (const part of this.chunks.split(suffix)) {
      const more = this.chunks.encodePart(part).length;
      if (tokens + more > budget) break;
      tokens += more;
      length += part.length;
    }
    return [suffix.slice(0, length), tokens];
  }
}

function joinedIds(pieces: readonly Int32Array[]): Int32Array {
  const ids = new Int32Array(pieces.reduce((total, piece) => total + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    ids.set(piece, at);
    at += piece.length;
  }
  return ids;
}
