/** Shorter units repeat in honest code (`0, 0, 0`, rulers of dashes); longer ones are found by whole lines. */
const shortest = 6;
const longest = 60;

const loop = new RegExp(`([^\\n]{${shortest},${longest}}?)\\1{2}`);
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

/** The same for a text that grows, at its end only: cheap enough for every step. */
export function endsInLoop(text: string): boolean {
  const line = text.slice(text.lastIndexOf("\n") + 1);
  for (let length = shortest; length <= longest && 3 * length <= line.length; length++) {
    const unit = line.slice(-length);
    if (line.endsWith(unit + unit + unit) && hasLetter.test(unit)) return true;
  }
  return false;
}
