import type { StopReason } from "../engine/addon.js";
import type { TextRequest, TextResult, TextSession, TextStep } from "../engine/engine.js";
import { endOfExtent, type ExtentRule } from "./block.js";

/** Tokens whose mean probability says how sure the model is. */
const judgedTokens = 8;

export interface GenerationLimits {
  readonly rule: ExtentRule;
  /** Below this mean probability the suggestion is given up. */
  readonly minConfidence: number;
  /** From the first token on. */
  readonly timeLimitMs: number;
  /** Aborted when nobody waits for the answer any more. */
  readonly signal: AbortSignal;
}

/** Why writing ended: the model's own end, the extent, a limit of tokens or time, or nobody waiting. */
export type GenerationEnd = "model" | "extent" | "unsure" | "tokenLimit" | "timeLimit" | "withdrawn";

export interface Generation {
  readonly text: string;
  readonly end: GenerationEnd;
  /** Geometric mean of the probabilities of the first tokens; null when there are none. */
  readonly confidence: number | null;
  readonly result: TextResult;
}

/** Lets the model write until the suggestion is whole, hopeless, late or unwanted. */
export async function generate(
  session: TextSession,
  request: Omit<TextRequest, "signal" | "logprobs">,
  limits: GenerationLimits,
): Promise<Generation> {
  const writing = new Writing(limits, request.stopIds ?? []);
  const result = await session.generate({ ...request, logprobs: true, signal: limits.signal }, (step) => {
    writing.add(step);
    return writing.end === undefined;
  });
  const end = limits.signal.aborted ? "withdrawn" : (writing.end ?? writing.ended(result.stopReason));
  const text = end === "timeLimit" || end === "tokenLimit" ? wholeParts(result.text) : result.text;
  return { text, end, confidence: writing.confidence, result };
}

/** Text that was cut off at any place: its whole lines, or the whole words of its only line. */
export function wholeParts(text: string): string {
  const lastBreak = text.lastIndexOf("\n");
  if (lastBreak > 0 && text.slice(0, lastBreak).trim() !== "") return text.slice(0, lastBreak);
  return text.replace(/[\p{L}\p{N}_$]+$/u, "").trimEnd();
}

/** A suggestion while it is written. */
class Writing {
  text = "";
  end: GenerationEnd | undefined;
  private firstAt: number | undefined;
  private logprobs = 0;
  private judged = 0;

  constructor(
    private readonly limits: GenerationLimits,
    private readonly stopIds: readonly number[],
  ) {}

  add({ text, step }: TextStep): void {
    this.text += text;
    this.firstAt ??= performance.now();
    this.judge(step.first, step.firstLogprob);
    if (step.second !== null) this.judge(step.second, step.secondLogprob);
    if (endOfExtent(this.text, this.limits.rule, /*complete=*/ false) !== undefined) this.end = this.verdict("extent");
    else if (this.judged >= judgedTokens && this.isUnsure()) this.end = "unsure";
    else if (performance.now() - this.firstAt > this.limits.timeLimitMs) this.end = this.verdict("timeLimit");
  }

  /** Nothing more will come, though the listener wanted more. */
  ended(stopReason: StopReason): GenerationEnd {
    return this.verdict(stopReason === "stopId" ? "model" : "tokenLimit");
  }

  get confidence(): number | null {
    return this.judged === 0 ? null : Math.exp(this.logprobs / this.judged);
  }

  private verdict(end: GenerationEnd): GenerationEnd {
    return this.isUnsure() ? "unsure" : end;
  }

  private isUnsure(): boolean {
    return this.confidence !== null && this.confidence < this.limits.minConfidence;
  }

  private judge(id: number, logprob: number | null): void {
    if (logprob === null || this.judged >= judgedTokens || this.stopIds.includes(id)) return;
    this.logprobs += logprob;
    this.judged += 1;
  }
}
