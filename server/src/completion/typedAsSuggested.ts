import type { DocumentContext } from "../document/documentContext.js";

/** The suggestion that a document shows, and where. */
interface ShownSuggestion {
  readonly context: DocumentContext;
  readonly text: string;
}

/** What editors put after the cursor by themselves when a bracket or quote is typed. */
const autoClosed = /^[)\]}"'`>]$/;

/**
 * While the user types what is shown, the rest of it is the answer and the model is not asked.
 * One suggestion per document; it is dropped as soon as the text departs from it.
 */
export class TypedAsSuggested {
  private readonly shown = new Map<string, ShownSuggestion>();

  /** Remembers what was answered. `text` has plain line breaks. */
  show(context: DocumentContext, text: string): void {
    this.shown.set(context.uri, { context, text });
  }

  /** What remains of the shown suggestion, or undefined when the user went elsewhere or has typed all of it. */
  rest(now: DocumentContext): string | undefined {
    const shown = this.shown.get(now.uri);
    if (shown === undefined) return undefined;
    const typed = typedSince(shown, now);
    if (typed === undefined || typed === shown.text.length) {
      this.shown.delete(now.uri);
      return undefined;
    }
    return shown.text.slice(typed);
  }

  forget(uri: string): void {
    this.shown.delete(uri);
  }

  clear(): void {
    this.shown.clear();
  }
}

/** How much of the shown text was typed, or undefined when anything else changed in the two views of the document. */
function typedSince({ context: then, text }: ShownSuggestion, now: DocumentContext): number | undefined {
  if (!sameSuffix(then.suffix, now.suffix)) return undefined;
  if (then.prefixStart === now.prefixStart) {
    const typed = now.prefix.length - then.prefix.length;
    const fits = typed >= 0 && typed <= text.length && now.prefix === then.prefix + text.slice(0, typed);
    return fits ? typed : undefined;
  }
  // The window has moved on by some lines: what it holds from before must be the same.
  for (let typed = 0; typed <= Math.min(text.length, now.prefix.length); typed++) {
    const before = now.prefix.slice(0, now.prefix.length - typed);
    if (now.prefix.endsWith(text.slice(0, typed)) && before !== "" && then.prefix.endsWith(before)) return typed;
  }
  return undefined;
}

/** The same text follows, but for a bracket or quote that the editor closed and for what no longer fits the window. */
function sameSuffix(then: string, now: string): boolean {
  if (then === now) return true;
  const closed = now.length >= 1 && autoClosed.test(now[0]!);
  return closed && then.startsWith(now.slice(1)) && then.length - now.length <= 1;
}
