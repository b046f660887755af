import { translatePattern } from "./splitPattern.js";

/** A split by the name that GGUF files give it (`tokenizer.ggml.pre`), as the models' authors wrote it. */
export interface NamedSplit {
  readonly patterns: readonly string[];
  readonly ignoreMerges?: boolean;
  /** Whether prompts begin with the first token of a text unless the file says otherwise. */
  readonly addBos?: boolean;
}

const contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const blanks = String.raw`\s*[\r\n]+|\s+(?!\S)|\s+`;

/** The split of GPT-2, which is also that of a ByteLevel pre-tokenizer. */
export const gpt2Pattern = String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`;
/** The split of GPT-4 and its followers, which differ in how they take numbers. */
const wordsAnd = (numbers: string) =>
  String.raw`${contractions}|[^\r\n\p{L}\p{N}]?\p{L}+|${numbers}| ?[^\s\p{L}\p{N}]+[\r\n]*|${blanks}`;
const qwen2Pattern = wordsAnd(String.raw`\p{N}`);
const llama3Pattern = wordsAnd(String.raw`\p{N}{1,3}`);

const gpt2: NamedSplit = { patterns: [gpt2Pattern] };
const digitsAlone: NamedSplit = { patterns: [String.raw`\p{N}`, gpt2Pattern] };
const qwen2: NamedSplit = { patterns: [qwen2Pattern] };
const llama3: NamedSplit = { patterns: [llama3Pattern], ignoreMerges: true, addBos: true };

const namedSplits: ReadonlyMap<string, NamedSplit> = new Map<string, NamedSplit>([
  ["qwen2", qwen2],
  ["deepseek-r1-qwen", qwen2],
  ["megrez", qwen2],
  [
    "qwen35",
    {
      patterns: [
        String.raw`${contractions}|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|${blanks}`,
      ],
    },
  ],
  ["llama-bpe", llama3],
  ["llama3", llama3],
  ["llama-v3", llama3],
  ["dbrx", { patterns: [llama3Pattern] }],
  ["smaug-bpe", { patterns: [llama3Pattern] }],
  ["starcoder", digitsAlone],
  ["refact", digitsAlone],
  ["smollm", digitsAlone],
  ["codeshell", digitsAlone],
  ["gpt-2", gpt2],
  ["mellum", gpt2],
  ["phi-2", gpt2],
  ["olmo", gpt2],
  [
    "deepseek-coder",
    {
      patterns: [
        String.raw`[\r\n]`,
        String.raw`\s?\p{L}+`,
        String.raw`\s?\p{P}+`,
        "[一-龥ࠀ-一가-\ud7ff]+",
        String.raw`\p{N}`,
      ],
    },
  ],
  [
    "seed-coder",
    {
      patterns: [
        String.raw`${contractions}|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}\r\n]+|${blanks}`,
      ],
    },
  ],
]);

/** Undefined for a name that is not known. */
export function namedSplit(name: string): NamedSplit | undefined {
  const split = namedSplits.get(name);
  return split && { ...split, patterns: split.patterns.map(translatePattern) };
}

export const splitNames: readonly string[] = [...namedSplits.keys()];

/** Cuts text into words by patterns, one after the other. */
export class Splitter {
  private readonly steps: readonly Step[];

  constructor(patterns: readonly string[]) {
    this.steps = patterns.map((pattern) => ({ here: new RegExp(pattern, "uy"), next: new RegExp(pattern, "ug") }));
  }

  /** Where each word of `text` ends, in UTF-16 units; words lie without gaps. */
  ends(text: string): readonly number[] {
    let ends: readonly number[] = [text.length];
    for (const step of this.steps) ends = refine(text, ends, step);
    return ends;
  }
}

/** One pattern twice: what matches at a place, and where the next match is. */
interface Step {
  readonly here: RegExp;
  readonly next: RegExp;
}

/** A later pattern sees each piece as a text of its own. */
function refine(text: string, ends: readonly number[], step: Step): readonly number[] {
  const refined: number[] = [];
  let start = 0;
  for (const end of ends) {
    cut(ends.length === 1 ? text : text.slice(start, end), start, step, refined);
    start = end;
  }
  return refined;
}

/** Appends where the pieces of `piece` end, which begins at `offset` of the whole text. */
function cut(piece: string, offset: number, { here, next }: Step, ends: number[]): void {
  let at = 0;
  while (at < piece.length) {
    here.lastIndex = at;
    if (here.test(piece) && here.lastIndex > at) {
      at = here.lastIndex;
    } else {
      next.lastIndex = at;
      const match = next.exec(piece);
      // An empty match, which no pattern in use has, ends the search.
      at = match !== null && match[0] !== "" ? match.index : piece.length;
    }
    ends.push(offset + at);
  }
}
