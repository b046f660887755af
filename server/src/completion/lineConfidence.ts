/** Tokens of a line whose mean probability says how sure the model is of it. */
const judgedTokens = 8;

interface Line {
  /** Where the line begins in the text, its line break included. */
  readonly start: number;
  logprobs: number;
  tokens: number;
}

/**
 * How sure the model is of each line that it writes: the geometric mean of the probabilities of the line's first
 * tokens. A step that breaks a line counts for the new one.
 */
export class LineConfidence {
  private readonly first: Line = { start: 0, logprobs: 0, tokens: 0 };
  private line = this.first;
  private text = "";

  constructor(private readonly minConfidence: number) {}

  /**
   * Takes one step. Gives the length of the text before the first line that the model is not sure of, or undefined
   * while it is sure of all that can be judged.
   */
  add(text: string, logprobs: readonly number[]): number | undefined {
    const lineBreak = text.lastIndexOf("\n");
    if (lineBreak >= 0 && this.text.slice(this.line.start).trim() !== "") {
      const unsure = this.endOfSureText();
      if (unsure !== undefined) return unsure;
      this.line = { start: this.text.length + lineBreak, logprobs: 0, tokens: 0 };
    }
    this.text += text;
    for (const logprob of logprobs) this.judge(logprob);
    return this.line.tokens >= judgedTokens ? this.endOfSureText() : undefined;
  }

  /** As {@link add}, when nothing more will come: the last line is judged by what there is. */
  endOfSureText(): number | undefined {
    const mean = meanOf(this.line);
    return mean !== null && mean < this.minConfidence ? this.line.start : undefined;
  }

  /** Of the first line with text; null before its first token. */
  get confidence(): number | null {
    return meanOf(this.first);
  }

  private judge(logprob: number): void {
    if (this.line.tokens >= judgedTokens) return;
    this.line.logprobs += logprob;
    this.line.tokens += 1;
  }
}

function meanOf({ logprobs, tokens }: Line): number | null {
  return tokens === 0 ? null : Math.exp(logprobs / tokens);
}
