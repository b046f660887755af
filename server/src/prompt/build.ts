import type { Tokenizer } from "../tokenizer/tokenizer.js";
import { ChunkedTokenizer } from "./chunks.js";
import type { FimParts, PromptFormat } from "./format.js";
import { type PrefixText, PrefixWindow } from "./window.js";

/** Tokens for the text on either side of the cursor. The side before it matters more and is the one that is reused. */
export interface PromptBudget {
  readonly prefixTokens: number;
  readonly suffixTokens: number;
}

export const fullBudget: PromptBudget = { prefixTokens: 1_024, suffixTokens: 256 };

/** Tokens that control tokens and a file name may take. */
const layoutReserve = 48;
const smallestBudget: PromptBudget = { prefixTokens: 64, suffixTokens: 16 };

/** The full budget, or as much of it as fits `capacity` tokens; the text after the cursor takes at most `maxSuffixTokens`. */
export function budgetFor(capacity: number, maxSuffixTokens = fullBudget.suffixTokens): PromptBudget {
  const room = capacity - layoutReserve;
  const share = Math.min(1, room / (fullBudget.prefixTokens + fullBudget.suffixTokens));
  const suffixTokens = Math.floor(fullBudget.suffixTokens * share);
  return {
    prefixTokens: Math.max(smallestBudget.prefixTokens, Math.floor(fullBudget.prefixTokens * share)),
    suffixTokens: Math.min(maxSuffixTokens, Math.max(smallestBudget.suffixTokens, suffixTokens)),
  };
}

export interface PromptText extends PrefixText {
  readonly fileName: string;
  readonly suffix: string;
}

export interface Prompt {
  readonly ids: Int32Array;
  /**
   * A space before the cursor that the prompt leaves out and the model has to write itself. Most tokens of words begin
   * with their space: behind a space that stands alone a model expects the few that do not, such as digits.
   */
  readonly heldBack: "" | " ";
  /** The text that went in on either side of the cursor. */
  readonly prefix: string;
  readonly suffix: string;
}

/** Text around the cursor to the ids of a prompt. Keeps what makes consecutive prompts begin alike. */
export class PromptBuilder {
  private readonly chunks: ChunkedTokenizer;
  private readonly window: PrefixWindow;

  /** Throws when the tokenizer lacks a control token of the format. */
  constructor(
    private readonly tokenizer: Tokenizer,
    private readonly format: PromptFormat,
  ) {
    const parts = format.layout({ fileName: "", prefix: "", suffix: "" });
    for (const part of parts) if ("token" in part) this.idOf(part.token);
    this.chunks = new ChunkedTokenizer(tokenizer);
    this.window = new PrefixWindow(this.chunks);
  }

  build(text: PromptText, budget: PromptBudget): Prompt {
    const suffix = this.suffixWithin(text.suffix, budget.suffixTokens);
    const prefix = this.window.choose(text, budget.prefixTokens);
    const heldBack = /\S $/.test(prefix) ? " " : "";
    const asked = prefix.slice(0, prefix.length - heldBack.length);
    return { ids: this.idsOf({ fileName: text.fileName, prefix: asked, suffix }), heldBack, prefix, suffix };
  }

  forget(uri: string): void {
    this.window.forget(uri);
  }

  private idsOf(parts: FimParts): Int32Array {
    const pieces = this.format
      .layout(parts)
      .flatMap((part) => ("token" in part ? [Int32Array.of(this.idOf(part.token))] : this.chunks.encode(part.text)));
    const ids = new Int32Array(pieces.reduce((total, piece) => total + piece.length, 0));
    let at = 0;
    for (const piece of pieces) {
      ids.set(piece, at);
      at += piece.length;
    }
    return ids;
  }

  /** Whole parts of the text after the cursor while they fit, so that the end is the same for the next keystroke. */
  private suffixWithin(suffix: string, budget: number): string {
    let length = 0;
    let tokens = 0;
    for (const part of this.chunks.split(suffix)) {
      tokens += this.chunks.encodePart(part).length;
      if (tokens > budget) break;
      length += part.length;
    }
    return suffix.slice(0, length);
  }

  private idOf(token: string): number {
    const id = this.tokenizer.idOf(token);
    if (id === undefined) {
      throw new Error(
        `The tokenizer has no token ${token}, which prompts of the format "${this.format.name}" need. ` +
          "Choose a model that was trained for fill-in-the-middle.",
      );
    }
    return id;
  }
}
