/**
 * Glob patterns as editors write them: `*` and `?` within a name, `**` over folders, `[a-z]`, `[!a-z]`, `{one,two}`. Case never
 * matters. A match takes time in proportion to pattern times path, whatever either holds: patterns come from folders that
 * nobody has looked at, and a regular expression made of one can be made to take for ever.
 */
export interface Glob {
  /** Whether a path, in its parts, or a folder above it matches. */
  matches(segments: readonly string[]): boolean;
}

/** A pattern that cannot mean anything, in words. */
export interface GlobProblem {
  readonly problem: string;
}

const longestPattern = 1_000;
const mostAlternatives = 64;

export function parseGlob(pattern: string): Glob | GlobProblem {
  if (pattern.length > longestPattern) return { problem: `it has more than ${longestPattern} characters` };
  const alternatives = expandBraces(pattern.toLowerCase());
  if (alternatives === undefined) return { problem: `its braces stand for more than ${mostAlternatives} patterns` };
  const compiled = alternatives.map(compile).filter((segments) => segments.length > 0);
  if (compiled.length === 0) return { problem: "it names nothing" };
  return {
    matches: (segments) => {
      const path = segments.map((segment) => segment.toLowerCase());
      return compiled.some((wanted) => matchesAll(wanted, path, matchesName));
    },
  };
}

/** One character of a name: itself, any, or one of a class. `star` stands for any number of any. */
type NamePart = "star" | OneCharacter;
type OneCharacter = (character: string) => boolean;
/** A name's parts, or any number of folders. */
type Segment = "star" | readonly NamePart[];

function compile(pattern: string): readonly Segment[] {
  const segments = pattern
    .split("/")
    .filter((segment) => segment !== "" && segment !== ".")
    .map((segment): Segment => (/^\*\*+$/.test(segment) ? "star" : nameParts(segment)));
  // What lies in a folder that is meant, is meant.
  return segments.length > 0 ? [...segments, "star"] : [];
}

function nameParts(segment: string): readonly NamePart[] {
  const parts: NamePart[] = [];
  for (const [part] of segment.matchAll(/\*+|\[[!^]?\]?[^\]]*\]|[^]/gu)) {
    if (part.startsWith("*")) parts.push("star");
    else if (part === "?") parts.push(() => true);
    else if (part.length > 2 && part.startsWith("[") && part.endsWith("]")) parts.push(oneOf(part.slice(1, -1)));
    else parts.push((character) => character === part);
  }
  return parts;
}

function oneOf(inside: string): OneCharacter {
  const negated = /^[!^]/.test(inside);
  const ranges = [...inside.slice(negated ? 1 : 0).matchAll(/([^])-([^])|([^])/gu)].map(
    ([, from, to, single]) => [from ?? single!, to ?? single!] as const,
  );
  return (character) => ranges.some(([from, to]) => from <= character && character <= to) !== negated;
}

function matchesName(parts: readonly NamePart[], name: string): boolean {
  return matchesAll<OneCharacter, string>(parts, [...name], (fits, character) => fits(character));
}

/**
 * Whether a sequence fits a pattern in which `star` stands for any part of it. Only the last star is ever tried again: what
 * an earlier one could give the later ones can take as well.
 */
function matchesAll<Wanted, Item>(
  wanted: readonly (Wanted | "star")[],
  items: readonly Item[],
  fits: (wanted: Wanted, item: Item) => boolean,
): boolean {
  let [at, item] = [0, 0];
  let star = -1;
  let starItem = 0;
  while (item < items.length) {
    const one = wanted[at];
    if (one === "star") {
      star = at++;
      starItem = item;
    } else if (one !== undefined && fits(one as Wanted, items[item]!)) {
      at += 1;
      item += 1;
    } else if (star >= 0) {
      at = star + 1;
      item = ++starItem;
    } else {
      return false;
    }
  }
  return wanted.slice(at).every((one) => one === "star");
}

/** Every pattern that braces stand for; undefined for too many. Braces that do not close are text. */
function expandBraces(pattern: string): readonly string[] | undefined {
  let open = [pattern];
  const done: string[] = [];
  while (open.length > 0) {
    if (open.length + done.length > mostAlternatives) return undefined;
    const [first, ...others] = open as [string, ...string[]];
    // The innermost braces first, so that they need not be counted.
    const found = /\{([^{}]*)\}/.exec(first);
    if (found === null) {
      done.push(first);
      open = others;
      continue;
    }
    const [all, inside = ""] = found;
    const [before, after] = [first.slice(0, found.index), first.slice(found.index + all.length)];
    open = [...inside.split(",").map((choice) => before + choice + after), ...others];
  }
  return done;
}
