/** Longest text that repeats within one line; longer ones are found by whole lines. */
const longest = 60;

/** Rounds after which a repetition counts as endless; undefined for what repeats in honest code, such as rulers of dashes. */
function roundsOf(unit: string): number | undefined {
  const telling = unit.match(/[\p{L}\p{N}]/gu)?.length ?? 0;
  if (telling === 0 || isRepeated(unit)) return undefined;
  if (unit.length >= 6 && /\p{L}/u.test(unit)) return 3;
  // `0, 0, 0` is a list of zeros, until it is too long for one.
  return telling >= 2 && unit.length >= 3 ? 4 : 16;
}

/** Whether a unit is itself made of a shorter one. */
function isRepeated(unit: string): boolean {
  return (unit + unit).indexOf(unit, 1) < unit.length;
}

/**
 * The first round, from start to end, of what a text says within one line again and again: small models fall into such
 * circles. Undefined when it does not.
 */
export function firstRound(text: string): readonly [start: number, end: number] | undefined {
  let lineStart = 0;
  for (const line of text.split("\n")) {
    for (let end = 2; end <= line.length; end++) {
      const length = loopAtEnd(line.slice(0, end));
      if (length === undefined) continue;
      const start = lineStart + startOfRounds(line, end, length);
      return [start, start + length];
    }
    lineStart += line.length + 1;
  }
  return undefined;
}

/** Where the first of the rounds begins that end at `end`. */
function startOfRounds(line: string, end: number, length: number): number {
  let start = end - length;
  while (start >= length && line.slice(start - length, start) === line.slice(start, start + length)) start -= length;
  return start;
}

/** The same for a text that grows, at its end only: cheap enough for every step. */
export function endsInLoop(text: string): boolean {
  return loopAtEnd(text.slice(text.lastIndexOf("\n") + 1)) !== undefined;
}

/** Length of the unit that a line ends with again and again. */
function loopAtEnd(line: string): number | undefined {
  for (let length = 1; length <= longest && 3 * length <= line.length; length++) {
    // Most lines end here: the last character is not that of a round before.
    if (line[line.length - 1] !== line[line.length - 1 - length]) continue;
    const unit = line.slice(-length);
    const rounds = roundsOf(unit);
    if (rounds !== undefined && line.endsWith(unit.repeat(rounds))) return length;
  }
  return undefined;
}
