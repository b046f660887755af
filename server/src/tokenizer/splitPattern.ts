/**
 * Patterns of tokenizers are written for Oniguruma, the engine of Hugging Face's library. They come out of files that
 * anyone may have made: only what can be translated to JavaScript with the same meaning passes, and nothing that could
 * backtrack for long.
 */

/** More unbounded repetitions than this in one alternative could take a time that grows too fast with the text. */
const maxRepetitions = 3;
const maxPatternLength = 4096;

const translatedEscapes: Readonly<Record<string, string>> = {
  s: String.raw`\p{White_Space}`,
  S: String.raw`\P{White_Space}`,
  d: String.raw`\p{Nd}`,
  D: String.raw`\P{Nd}`,
};

/** The same pattern for JavaScript (flag `u`). Throws an Error that says which part cannot be translated. */
export function translatePattern(source: string): string {
  if (source.length > maxPatternLength) throw new Error(`it is longer than ${maxPatternLength} characters`);
  const translated = new Translation(source).run();
  // Throws a SyntaxError for what neither understands.
  if (new RegExp(translated, "u").test("")) throw new Error("it matches empty text");
  return translated;
}

/** Text that matches nothing but itself. */
export function literalPattern(text: string): string {
  return text.replace(/[\^$\\.*+?()[\]{}|/]/g, "\\$&");
}

interface Group {
  readonly ignoreCase: boolean;
  /** Whether something in it repeats without bound. */
  repeats: boolean;
}

class Translation {
  private readonly groups: Group[] = [{ ignoreCase: false, repeats: false }];
  private at = 0;
  private repetitions = 0;
  /** The group that ended just before, for a quantifier behind it. */
  private closed: Group | undefined;

  constructor(private readonly source: string) {}

  run(): string {
    let out = "";
    while (this.at < this.source.length) out += this.next();
    if (this.groups.length !== 1) throw new Error("a group is not closed");
    return out;
  }

  private get group(): Group {
    return this.groups.at(-1)!;
  }

  private next(): string {
    const character = this.take();
    const closed = this.closed;
    this.closed = undefined;
    switch (character) {
      case "(":
        return this.open();
      case ")":
        return this.close();
      case "[":
        return this.characterClass();
      case "\\":
        return this.escape(/*inClass=*/ false);
      case "*":
      case "+":
        return this.repeat(character, closed);
      case "{":
        return this.bounds(closed);
      case "|":
        if (this.groups.length === 1) this.repetitions = 0;
        return character;
      case ".":
        return String.raw`[^\n]`;
      case "^":
      case "$":
        throw new Error(`"${character}" is not supported`);
      default:
        return this.literal(character, /*inClass=*/ false);
    }
  }

  private take(): string {
    const character = String.fromCodePoint(this.source.codePointAt(this.at)!);
    this.at += character.length;
    return character;
  }

  private takeIf(text: string): boolean {
    if (!this.source.startsWith(text, this.at)) return false;
    this.at += text.length;
    return true;
  }

  private open(): string {
    const { ignoreCase } = this.group;
    if (this.takeIf("?i:")) {
      this.groups.push({ ignoreCase: true, repeats: false });
      return "(?:";
    }
    const kind = ["?:", "?=", "?!"].find((start) => this.takeIf(start));
    if (kind === undefined && this.source[this.at] === "?") throw new Error("a kind of group is not supported");
    this.groups.push({ ignoreCase, repeats: false });
    return `(${kind ?? "?:"}`;
  }

  private close(): string {
    if (this.groups.length === 1) throw new Error("a group is closed that was not opened");
    this.closed = this.groups.pop()!;
    if (this.closed.repeats) this.group.repeats = true;
    return ")";
  }

  private repeat(character: string, closed: Group | undefined): string {
    if (closed?.repeats) throw new Error("a repetition stands inside a repetition");
    if (++this.repetitions > maxRepetitions) throw new Error(`it has more than ${maxRepetitions} repetitions in a row`);
    this.group.repeats = true;
    return character;
  }

  private bounds(closed: Group | undefined): string {
    const bounds = /\d{1,3}(,(\d{1,3})?)?\}/y;
    bounds.lastIndex = this.at;
    const text = bounds.exec(this.source)?.[0];
    if (text === undefined) throw new Error(`"{" is not supported`);
    this.at += text.length;
    if (text.endsWith(",}")) this.repeat("", closed);
    else if (closed?.repeats) throw new Error("a repetition stands inside a repetition");
    return `{${text}`;
  }

  private characterClass(): string {
    let out = this.takeIf("^") ? "[^" : "[";
    for (;;) {
      if (this.at >= this.source.length) throw new Error("a set of characters is not closed");
      const character = this.take();
      if (character === "]") return `${out}]`;
      if (character === "[" || (character === "&" && this.source[this.at] === "&")) {
        throw new Error("operations on sets of characters are not supported");
      }
      if (character === "\\") out += this.escape(/*inClass=*/ true);
      else out += this.literal(character, /*inClass=*/ true);
    }
  }

  private escape(inClass: boolean): string {
    if (this.at >= this.source.length) throw new Error("it ends with a backslash");
    const character = this.take();
    const translated = translatedEscapes[character];
    if (translated !== undefined) return translated;
    if (character === "p" || character === "P") return this.property(character);
    if (/[rnt]/.test(character)) return `\\${character}`;
    if (/[A-Za-z0-9]/.test(character)) throw new Error(`"\\${character}" is not supported`);
    return /[\^$\\.*+?()[\]{}|/]/.test(character) || (inClass && character === "-") ? `\\${character}` : character;
  }

  private property(letter: string): string {
    const name = /\{\w+\}/y;
    name.lastIndex = this.at;
    const text = name.exec(this.source)?.[0];
    if (text === undefined) throw new Error("a Unicode property has no name");
    this.at += text.length;
    return `\\${letter}${text}`;
  }

  private literal(character: string, inClass: boolean): string {
    if (!this.group.ignoreCase || !/\p{L}/u.test(character)) return character;
    if (!/[A-Za-z]/.test(character)) throw new Error("case is ignored for a letter that is not Latin");
    if (inClass && (this.source[this.at] === "-" || this.source[this.at - 2] === "-")) {
      throw new Error("case is ignored for a range of letters");
    }
    const variants = caseVariants(character);
    return inClass ? variants : `[${variants}]`;
  }
}

/** Everything that Unicode folds to the same letter: two letters have a third form. */
function caseVariants(letter: string): string {
  const lower = letter.toLowerCase();
  const third = { s: "\u017f", k: "\u212a" }[lower] ?? "";
  return lower + lower.toUpperCase() + third;
}
