/** What of a language's spelling matters for telling brackets from text. */
export interface Spelling {
  /** Beginnings of comments that end with their line. */
  readonly lineComments: readonly string[];
  readonly quotes: readonly string[];
  /** `'` encloses one character, as in C, and otherwise means something else, as in Rust's lifetimes. */
  readonly characterLiterals: boolean;
  readonly regularExpressions: boolean;
  /** Text for people, where a bracket is no structure. */
  readonly prose: boolean;
  /** Whether `<` and `>` are brackets here. */
  readonly angles: boolean;
}

/** Where a text ends: brackets that are open, innermost last, and what ends the literal or comment that is open. */
export interface CodePlace {
  readonly open: string;
  /** A quote, the end of a comment, or empty outside of both. */
  readonly literal: string;
}

export interface CodeEvents {
  /** A closing bracket that nothing in the text opens. True ends the scan. */
  readonly unopened?: (closer: string, index: number) => boolean;
  /** The end of the literal in which the text begins. True ends the scan. */
  readonly literalEnd?: (index: number) => boolean;
}

export const openerOf: Readonly<Record<string, string>> = { ")": "(", "]": "[", "}": "{", ">": "<" };

const proseLanguages = /^(?:plaintext|markdown|mdx|html|xml|latex|tex|restructuredtext|asciidoc|git-commit|log)$/;
const hashLanguages =
  /^(?:python|ruby|shellscript|fish|perl|r|julia|elixir|yaml|toml|ini|properties|dockerfile|makefile|cmake|powershell|coffeescript|nix|dotenv|php)$/;
const dashLanguages = /^(?:sql|lua|haskell|elm|ada)$/;
const scriptLanguages = /^(?:java|type)script(?:react)?$|^(?:vue|svelte|php)$/;
const characterLanguages = /^(?:c|cpp|csharp|java|rust|go|kotlin|swift|scala|zig|haskell|cuda-cpp|objective-cp?p?)$/;

export function spellingOf(languageId: string, angles = false): Spelling {
  const prose = proseLanguages.test(languageId);
  const hash = hashLanguages.test(languageId);
  const dash = dashLanguages.test(languageId);
  return {
    lineComments: [...(hash ? ["#"] : []), ...(dash ? ["--"] : []), ...(hash || dash || prose ? [] : ["//"])],
    quotes: prose ? ['"'] : ['"""', "'''", '"', "'", "`"],
    characterLiterals: characterLanguages.test(languageId),
    regularExpressions: scriptLanguages.test(languageId),
    prose,
    angles,
  };
}

/**
 * Reads a text for its brackets, passing over strings, characters, regular expressions and comments. It knows no grammar:
 * enough to tell a bracket of the code from one in a text, and wrong at most about one suggestion.
 */
export function scanCode(text: string, spelling: Spelling, from: CodePlace = { open: "", literal: "" }, events: CodeEvents = {}): CodePlace {
  const open = [...from.open];
  let { literal } = from;
  let inFirst = literal !== "";
  for (let index = 0; index < text.length; index++) {
    if (literal !== "") {
      const end = endOfLiteral(text, index, literal);
      if (inFirst && end < text.length && text.startsWith(literal, end) && events.literalEnd?.(end)) break;
      if (end >= text.length) return { open: open.join(""), literal };
      index = text.startsWith(literal, end) ? end + literal.length - 1 : end;
      literal = "";
      inFirst = false;
      continue;
    }
    const found = literalAt(text, index, spelling);
    if (found !== undefined) {
      literal = found.end;
      index += found.length - 1;
      continue;
    }
    const character = text[index]!;
    if (isOpener(character, text, index, spelling)) open.push(character);
    else if (isCloser(character, text, index, spelling)) {
      const opener = open.lastIndexOf(openerOf[character]!);
      if (opener >= 0) open.length = opener;
      else if (events.unopened?.(character, index)) break;
    }
  }
  return { open: open.join(""), literal };
}

function isOpener(character: string, text: string, index: number, { angles }: Spelling): boolean {
  return character === "(" || character === "[" || character === "{" || (angles && character === "<" && text[index + 1] !== " ");
}

function isCloser(character: string, text: string, index: number, { angles }: Spelling): boolean {
  if (character === ">") return angles && !/[=\- ]/.test(text[index - 1] ?? "");
  return character === ")" || character === "]" || character === "}";
}

/** Index of a literal's end, or of the line break that ends what may not hold one; the text's length while it is open. */
function endOfLiteral(text: string, from: number, literal: string): number {
  const escapes = literal !== "\n" && literal !== "*/";
  const oneLine = literal === '"' || literal === "'";
  for (let index = from; index < text.length; index++) {
    if (escapes && text[index] === "\\") index += 1;
    else if (text.startsWith(literal, index) || (oneLine && text[index] === "\n")) return index;
  }
  return text.length;
}

const character = /'(?:\\[^\n']{1,8}|\\'|[^\\'\n]{1,2})'/y;
const regularExpression = /\/(?![/*])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n[])+\//y;
const beforeRegularExpression = /(?:^|[(,=:[!&|?{};>+\n]|\b(?:return|case|typeof))\s*$/;

/** What begins at an index and holds no code: its length here, and what ends it later; that is empty where it is whole. */
function literalAt(text: string, index: number, spelling: Spelling): { readonly length: number; readonly end: string } | undefined {
  const first = text[index]!;
  if (/[\w\s]/.test(first)) return undefined;
  const comment = spelling.lineComments.find((start) => text.startsWith(start, index));
  if (comment !== undefined && !(comment === "#" && /\S/.test(text[index - 1] ?? " "))) return { length: comment.length, end: "\n" };
  if (text.startsWith("/*", index) && spelling.lineComments.includes("//")) return { length: 2, end: "*/" };
  if (first === "'" && spelling.characterLiterals) return sticky(character, text, index);
  if (first === "/" && spelling.regularExpressions && beforeRegularExpression.test(text.slice(Math.max(0, index - 12), index))) {
    return sticky(regularExpression, text, index);
  }
  const quote = spelling.quotes.find((start) => text.startsWith(start, index));
  if (quote === undefined) return undefined;
  // An apostrophe: a quote that its own line does not close.
  const end = endOfLiteral(text, index + quote.length, quote);
  return quote.length === 1 && quote !== "`" && text[end] === "\n" ? undefined : { length: quote.length, end: quote };
}

function sticky(pattern: RegExp, text: string, index: number): { readonly length: number; readonly end: string } | undefined {
  pattern.lastIndex = index;
  const found = pattern.exec(text);
  return found === null ? undefined : { length: found[0].length, end: "" };
}
