/*
 * PEFT takes the keys of `rank_pattern` and `alpha_pattern` as regular expressions. They come from a file, so they must
 * not run on an engine that tries one way after the other: here all ways go through the text together, one step of each
 * per character, and the steps are counted.
 */

/** A pattern is not understood, or all of them take too long. */
export class PatternProblem extends Error {}

/** Steps that are still allowed; shared by the patterns of one file. */
export interface StepBudget {
  left: number;
}

const most = { length: 1000, steps: 4_000_000 };

export function stepBudget(): StepBudget {
  return { left: most.steps };
}

/** Whether the pattern matches the whole of a dotted name, or an ending of it that begins behind a dot. */
export type Matcher = (name: string) => boolean;

/** Compiles a key. Throws {@link PatternProblem}; so does the matcher when the budget is used up. */
export function compilePattern(key: string, budget: StepBudget): Matcher {
  if (key.length > most.length) throw new PatternProblem(`has more than ${most.length} characters`);
  if (/^[\w.]+$/.test(key)) return (name) => endsLike(name, key, budget);
  const program = new Compiler(key).program();
  return (name) => run(program, name, budget);
}

/** Most keys are names: they need no steps for each character. A dot in one is still any character. */
function endsLike(name: string, key: string, budget: StepBudget): boolean {
  spend(budget);
  const start = name.length - key.length;
  if (start < 0 || (start > 0 && name[start - 1] !== ".")) return false;
  for (let i = 0; i < key.length; ++i) if (key[i] !== "." && key[i] !== name[start + i]) return false;
  return true;
}

function spend(budget: StepBudget): void {
  if (--budget.left < 0) throw new PatternProblem("takes too long to match");
}

type CharacterTest = (character: string) => boolean;
type Instruction =
  | { readonly kind: "character"; readonly test: CharacterTest }
  | { readonly kind: "start" | "end" | "match" }
  /** Goes on at both places, counted from here. */
  | { readonly kind: "fork"; readonly a: number; readonly b: number };
type Program = readonly Instruction[];

function run(program: Program, name: string, budget: StepBudget): boolean {
  let places = new Set<number>();
  for (let i = 0; i <= name.length; ++i) {
    if (i === 0 || name[i - 1] === ".") enter(program, 0, i, name, places, budget);
    const next = new Set<number>();
    for (const place of places) {
      const instruction = program[place]!;
      if (instruction.kind === "match" && i === name.length) return true;
      if (instruction.kind === "character" && i < name.length && instruction.test(name[i]!))
        enter(program, place + 1, i + 1, name, next, budget);
    }
    places = next;
  }
  return false;
}

/** Adds a place and all that is reached from it without a character. */
function enter(
  program: Program,
  from: number,
  at: number,
  name: string,
  places: Set<number>,
  budget: StepBudget,
): void {
  const waiting = [from];
  for (let place = waiting.pop(); place !== undefined; place = waiting.pop()) {
    if (places.has(place)) continue;
    spend(budget);
    places.add(place);
    const instruction = program[place]!;
    if (instruction.kind === "fork") waiting.push(place + instruction.a, place + instruction.b);
    if ((instruction.kind === "start" && at === 0) || (instruction.kind === "end" && at === name.length))
      waiting.push(place + 1);
  }
}

const classes: Readonly<Record<string, CharacterTest>> = {
  d: (c) => c >= "0" && c <= "9",
  D: (c) => !(c >= "0" && c <= "9"),
  w: (c) => /^\w$/.test(c),
  W: (c) => !/^\w$/.test(c),
  s: (c) => /^\s$/.test(c),
  S: (c) => !/^\s$/.test(c),
};

/** Characters, classes, groups, alternatives, `*`, `+` and `?`: what such keys are written with. */
class Compiler {
  private at = 0;
  private depth = 0;

  constructor(private readonly key: string) {}

  program(): Program {
    const program = this.alternatives();
    if (this.at < this.key.length) throw new PatternProblem("has a ) without its (");
    return [...program, { kind: "match" }];
  }

  private alternatives(): Instruction[] {
    let first = this.sequence();
    while (this.key[this.at] === "|") {
      this.at += 1;
      const second = this.sequence();
      const jump: Instruction = { kind: "fork", a: second.length + 1, b: second.length + 1 };
      first = [{ kind: "fork", a: 1, b: first.length + 2 }, ...first, jump, ...second];
    }
    return first;
  }

  private sequence(): Instruction[] {
    const all: Instruction[] = [];
    while (this.at < this.key.length && this.key[this.at] !== "|" && this.key[this.at] !== ")")
      all.push(...this.repeated(this.one()));
    return all;
  }

  private repeated(body: Instruction[]): Instruction[] {
    const sign = this.key[this.at];
    if (sign === "{") throw new PatternProblem("counts repetitions with { }, which is not known");
    if (sign !== "*" && sign !== "+" && sign !== "?") return body;
    this.at += 1;
    // Greedy or not: only whether it matches is asked.
    if (this.key[this.at] === "?") this.at += 1;
    const back: Instruction = { kind: "fork", a: -body.length, b: 1 };
    if (sign === "+") return [...body, back];
    if (sign === "?") return [{ kind: "fork", a: 1, b: body.length + 1 }, ...body];
    return [{ kind: "fork", a: 1, b: body.length + 2 }, ...body, { kind: "fork", a: -body.length, b: 1 }];
  }

  private one(): Instruction[] {
    const character = this.key[this.at++]!;
    switch (character) {
      case "(":
        return this.group();
      case "[":
        return [{ kind: "character", test: this.set() }];
      case "\\":
        return [{ kind: "character", test: this.escaped() }];
      case ".":
        return [{ kind: "character", test: () => true }];
      case "^":
        return [{ kind: "start" }];
      case "$":
        return [{ kind: "end" }];
      case "*":
      case "+":
      case "?":
        throw new PatternProblem(`repeats nothing with ${character}`);
      default:
        return [{ kind: "character", test: (c) => c === character }];
    }
  }

  private group(): Instruction[] {
    if (this.key.startsWith("?:", this.at)) this.at += 2;
    else if (this.key[this.at] === "?") throw new PatternProblem("looks ahead or behind with (?, which is not known");
    if (++this.depth > 50) throw new PatternProblem("has groups too deep within each other");
    const inside = this.alternatives();
    if (this.key[this.at++] !== ")") throw new PatternProblem("has a ( without its )");
    this.depth -= 1;
    return inside;
  }

  private escaped(): CharacterTest {
    const character = this.key[this.at++];
    if (character === undefined) throw new PatternProblem("ends with a \\");
    const known = Object.hasOwn(classes, character) ? classes[character] : undefined;
    if (known) return known;
    if (/[A-Za-z0-9]/.test(character)) throw new PatternProblem(`has \\${character}, which is not known`);
    return (c) => c === character;
  }

  private set(): CharacterTest {
    const negated = this.key[this.at] === "^";
    if (negated) this.at += 1;
    const tests: CharacterTest[] = [];
    for (let first = true; first || this.key[this.at] !== "]"; first = false) {
      const character = this.key[this.at++];
      if (character === undefined) throw new PatternProblem("has a [ without its ]");
      if (character === "\\") {
        tests.push(this.escaped());
        continue;
      }
      const [dash, last] = [this.key[this.at], this.key[this.at + 1]];
      const isRange = dash === "-" && last !== undefined && last !== "]";
      if (isRange) this.at += 2;
      const end = isRange ? last : character;
      tests.push((c) => c >= character && c <= end);
    }
    this.at += 1;
    return (c) => tests.some((test) => test(c)) !== negated;
  }
}
