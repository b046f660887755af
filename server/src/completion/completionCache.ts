import { createHash } from "node:crypto";
import { LRUCache } from "lru-cache";
import type { DocumentContext } from "../document/documentContext.js";
import { ownText } from "../ownText.js";

/** Documents' places that are remembered. */
const maxPlaces = 256;
/** Suggestions remembered per place, newest first. */
const maxPerPlace = 8;
/** Text before the line and after the cursor that must be equal for a suggestion to be used again: what a prompt may hold. */
const comparedBefore = 8_192;
const comparedAfter = 2_048;

interface CachedSuggestion {
  readonly linePrefix: string;
  readonly text: string;
}

/**
 * Finished suggestions by what stands around the line. An entry answers at the place where it was made and
 * anywhere further along its own text, so undoing a letter or coming back to a line costs nothing.
 */
export class CompletionCache {
  private readonly places = new LRUCache<string, readonly CachedSuggestion[]>({ max: maxPlaces });

  /** `text` has plain line breaks. */
  put(context: DocumentContext, text: string): void {
    const key = keyOf(context);
    const { linePrefix } = context;
    const others = (this.places.get(key) ?? []).filter((entry) => entry.linePrefix !== linePrefix);
    this.places.set(key, [{ linePrefix: ownText(linePrefix), text: ownText(text) }, ...others].slice(0, maxPerPlace));
  }

  /** What is left of a remembered suggestion at this cursor, or undefined. */
  get(context: DocumentContext): string | undefined {
    const { linePrefix } = context;
    for (const entry of this.places.get(keyOf(context)) ?? []) {
      if (!linePrefix.startsWith(entry.linePrefix)) continue;
      const typed = linePrefix.slice(entry.linePrefix.length);
      if (entry.text.length > typed.length && entry.text.startsWith(typed)) return entry.text.slice(typed.length);
    }
    return undefined;
  }

  clear(): void {
    this.places.clear();
  }
}

/** A digest of the compared text, so that many places need little memory. */
function keyOf(context: DocumentContext): string {
  const before = context.prefix.slice(0, context.prefix.length - context.linePrefix.length);
  const after = context.suffix.slice(0, comparedAfter);
  const compared = [context.languageId, context.fileName, before.slice(-comparedBefore), after].join("\0");
  return createHash("sha256").update(compared).digest("base64");
}
