/** Shorter units repeat in honest code (`0, 0, 0`, rulers of dashes); longer ones are found by whole lines. */
const loop = /([^\n]{6,60}?)\1{2}/;
const hasLetter = /\p{L}/u;

/**
 * Where a text begins to say within one line the same for the second time of at least three: small models fall into
 * such circles. Undefined when it does not.
 */
export function startOfLoop(text: string): number | undefined {
  const found = loop.exec(text);
  const unit = found?.[1];
  return found === null || unit === undefined || !hasLetter.test(unit) ? undefined : found.index + unit.length;
}
