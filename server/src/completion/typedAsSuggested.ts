import type { DocumentContext } from "../document/documentContext.js";

/** The suggestion that a document shows, and where. */
interface ShownSuggestion {
  readonly context: DocumentContext;
  readonly text: string;
}

/** Text kept to recognise the place again. */
const anchorLength = 256;
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
    const typed = typedSince(shown.context, now);
    if (typed === undefined || !shown.text.startsWith(typed) || typed.length === shown.text.length) {
      this.shown.delete(now.uri);
      return undefined;
    }
    return shown.text.slice(typed.length);
  }

  forget(uri: string): void {
    this.shown.delete(uri);
  }

  clear(): void {
    this.shown.clear();
  }
}

/** Text typed at the cursor between two views of a document, or undefined when anything else changed around it. */
function typedSince(then: DocumentContext, now: DocumentContext): string | undefined {
  const anchor = then.prefix.slice(-anchorLength);
  const windowMoved = then.prefixStart !== now.prefixStart;
  const at = windowMoved ? now.prefix.lastIndexOf(anchor) : then.prefix.length - anchor.length;
  if (at < 0 || !now.prefix.startsWith(anchor, at)) return undefined;
  return sameSuffix(then.suffix, now.suffix) ? now.prefix.slice(at + anchor.length) : undefined;
}

function sameSuffix(then: string, now: string): boolean {
  const before = then.slice(0, anchorLength);
  if (now.startsWith(before)) return before.length === anchorLength || now.length === then.length;
  return autoClosed.test(now.slice(0, 1)) && now.startsWith(before, 1);
}
