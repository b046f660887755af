import { ownText } from "../ownText.js";
import type { ChunkedTokenizer } from "./chunks.js";

/** How full a window is made when it must be chosen anew, so that it can stay while the text grows. */
const refillShare = 0.6;
/** Text that must be the same at the window's start for it to stay where it is. */
const headLength = 64;

/** Text before the cursor as a document context holds it. */
export interface PrefixText {
  readonly uri: string;
  readonly prefix: string;
  /** Where `prefix` begins in the document. */
  readonly prefixStart: number;
  readonly documentLength: number;
}

interface RememberedWindow {
  readonly start: number;
  readonly head: string;
  readonly documentLength: number;
}

/**
 * Chooses how much text before the cursor goes into a prompt. The start stays where it was for as long as the
 * budget allows and then moves by several lines at once: a session extends only while prompts begin alike.
 */
export class PrefixWindow {
  private readonly remembered = new Map<string, RememberedWindow>();

  constructor(private readonly tokenizer: ChunkedTokenizer) {}

  /**
   * The end of `text.prefix` that fits `budget` tokens; begins at a line where there is one. A window that is chosen anew
   * holds at most `newBudget` tokens, and may grow to the budget while the text does.
   */
  choose(text: PrefixText, budget: number, newBudget = budget): string {
    const fitting = this.fittingStarts(text.prefix, budget);
    const start = this.keptStart(text, fitting) ?? newStart(fitting, text.prefixStart === 0, budget, newBudget);
    this.remembered.set(text.uri, {
      start: text.prefixStart + start,
      head: ownText(text.prefix.slice(start, start + headLength)),
      documentLength: text.documentLength,
    });
    return text.prefix.slice(start);
  }

  forget(uri: string): void {
    this.remembered.delete(uri);
  }

  /** Possible starts from near to far, each with the tokens from there to the cursor; none exceeds the budget. */
  private fittingStarts(prefix: string, budget: number): readonly Start[] {
    const parts = this.tokenizer.split(prefix);
    const starts: Start[] = [{ at: prefix.length, tokens: 0, isLine: false }];
    let at = prefix.length;
    let tokens = 0;
    for (let index = parts.length - 1; index >= 0; index--) {
      const part = parts[index]!;
      at -= part.length;
      tokens += this.tokenizer.encodePart(part).length;
      if (tokens > budget) break;
      starts.push(startIn(prefix, part, at, tokens));
    }
    return starts;
  }

  private keptStart(text: PrefixText, fitting: readonly Start[]): number | undefined {
    const old = this.remembered.get(text.uri);
    if (old === undefined) return undefined;
    const shifted = old.start + text.documentLength - old.documentLength;
    for (const start of [old.start, shifted]) {
      const at = start - text.prefixStart;
      const known = fitting.some((candidate) => candidate.at === at && candidate.tokens > 0);
      if (known && text.prefix.slice(at, at + headLength).startsWith(old.head)) return at;
    }
    return undefined;
  }
}

interface Start {
  readonly at: number;
  readonly tokens: number;
  readonly isLine: boolean;
}

/** A part may begin with the break that ends the line before: the line itself begins after it. */
function startIn(prefix: string, part: string, at: number, tokens: number): Start {
  if (at === 0) return { at, tokens, isLine: true };
  const lineAt = at + (/^\s*\n/.exec(part)?.[0].length ?? 0);
  return { at: lineAt, tokens, isLine: prefix[lineAt - 1] === "\n" };
}

/** Everything when it fits, otherwise a line's start at the refill share, otherwise the farthest piece of a long line. */
function newStart(fitting: readonly Start[], wholePrefix: boolean, budget: number, newBudget: number): number {
  const farthest = fitting.at(-1)!;
  if (wholePrefix && farthest.at === 0 && farthest.tokens <= newBudget) return 0;
  const share = Math.min(budget * refillShare, newBudget);
  const near = fitting.filter((start) => start.tokens <= share);
  const line = near.findLast((start) => start.isLine && start.tokens > 0);
  return (line ?? (newBudget < budget ? near.at(-1)! : farthest)).at;
}
