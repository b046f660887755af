import type { StopReason } from "../engine/addon.js";
import type { TextRequest, TextResult, TextSession, TextStep } from "../engine/engine.js";
import { endOfExtent, type ExtentRule } from "../document/extent.js";
import { endsInLoop } from "../document/loop.js";
import { LineConfidence } from "./lineConfidence.js";

export interface GenerationLimits {
  readonly rule: ExtentRule;
  /** What the model has to write first; it stands in the document already and is taken off. */
  readonly heldBack: string;
  /** The suggestion ends before the first line of which the model is less sure, 0..1. */
  readonly minConfidence: number;
  /** From the first token on. */
  readonly timeLimitMs: number;
  /** Aborted when nobody waits for the answer any more. */
  readonly signal: AbortSignal;
}

/**
 * Why writing ended: by the model itself, the extent, going round in circles, a line of which the model is not sure
 * (`unsure` where that is the first one, or where it would not go on from the text before the cursor), a limit of tokens
 * or time, or because nobody waits.
 */
export type GenerationEnd =
  | "model"
  | "extent"
  | "loop"
  | "unsure"
  | "unsureLine"
  | "tokenLimit"
  | "timeLimit"
  | "withdrawn";

export interface Generation {
  readonly text: string;
  readonly end: GenerationEnd;
  /** How sure the model is of the first line, 0..1; null when it wrote nothing. */
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
  writing.finish(result.stopReason);
  const end = limits.signal.aborted ? "withdrawn" : writing.end!;
  return { text: writing.shownText(), end, confidence: writing.confidence, result };
}

/** Text that was cut off at any place: its whole lines, or the whole words of its only line. */
export function wholeParts(text: string): string {
  const lastBreak = text.lastIndexOf("\n");
  if (lastBreak > 0 && text.slice(0, lastBreak).trim() !== "") return text.slice(0, lastBreak);
  return text.replace(/[\p{L}\p{N}_$]+$/u, "").trimEnd();
}

/** A suggestion while it is written. */
class Writing {
  end: GenerationEnd | undefined;
  private text = "";
  private sureLength: number | undefined;
  private firstAt: number | undefined;
  private readonly lineConfidence: LineConfidence;
  private owed: string;

  constructor(
    private readonly limits: GenerationLimits,
    private readonly stopIds: readonly number[],
  ) {
    this.lineConfidence = new LineConfidence(limits.minConfidence);
    this.owed = limits.heldBack;
  }

  add({ text: written, step }: TextStep): void {
    this.firstAt ??= performance.now();
    const text = this.withoutOwed(written);
    if (text === undefined) return this.endWhereUnsure(0);
    this.endWhereUnsure(this.lineConfidence.add(text, this.logprobsOf(step)));
    this.text += text;
    if (this.end !== undefined) return;
    if (endOfExtent(this.text, this.limits.rule, /*complete=*/ false) !== undefined) this.end = "extent";
    else if (endsInLoop(this.text)) this.end = "loop";
    else if (performance.now() - this.firstAt > this.limits.timeLimitMs) this.end = "timeLimit";
  }

  /** Nothing more will come. */
  finish(stopReason: StopReason): void {
    this.end ??= stopReason === "stopId" ? "model" : "tokenLimit";
    if (this.sureLength === undefined) this.endWhereUnsure(this.lineConfidence.endOfSureText());
  }

  shownText(): string {
    if (this.sureLength !== undefined) return this.text.slice(0, this.sureLength);
    return this.end === "timeLimit" || this.end === "tokenLimit" ? wholeParts(this.text) : this.text;
  }

  get confidence(): number | null {
    return this.lineConfidence.confidence;
  }

  /** The text behind what the document has already; undefined where the model goes on with something else. */
  private withoutOwed(text: string): string | undefined {
    if (text === "") return text;
    if (!text.startsWith(this.owed)) return undefined;
    const rest = text.slice(this.owed.length);
    this.owed = "";
    return rest;
  }

  private endWhereUnsure(sureLength: number | undefined): void {
    if (sureLength === undefined) return;
    this.sureLength = sureLength;
    this.end = sureLength === 0 ? "unsure" : "unsureLine";
  }

  /** Of the tokens that become text; the stop token says nothing about it. */
  private logprobsOf({ first, second, firstLogprob, secondLogprob }: TextStep["step"]): readonly number[] {
    const tokens: readonly (readonly [number | null, number | null])[] = [
      [first, firstLogprob],
      [second, secondLogprob],
    ];
    return tokens.flatMap(([id, logprob]) => (id === null || logprob === null || this.stopIds.includes(id) ? [] : [logprob]));
  }
}
