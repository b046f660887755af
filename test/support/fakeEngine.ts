import { setImmediate as nextTick, setTimeout as sleep } from "node:timers/promises";
import type { EngineInfo, NativeEngine, StopReason } from "../../server/src/engine/addon.js";
import type { LoadedModel, TextRequest, TextResult, TextSession, TextStep } from "../../server/src/engine/engine.js";
import type { ModelCard } from "../../server/src/checkpoints/card.js";
import type { Tokenizer } from "../../server/src/tokenizer/tokenizer.js";

const specialTokens = [
  "<|endoftext|>",
  "<|im_end|>",
  "<|fim_prefix|>",
  "<|fim_middle|>",
  "<|fim_suffix|>",
  "<|fim_pad|>",
  "<|file_sep|>",
  "<|repo_name|>",
];
/** Ids below this are control tokens. */
const firstText = 32;

/** One id per UTF-16 unit, so that expected ids can be written down. */
export class CharacterTokenizer implements Tokenizer {
  readonly vocabSize = firstText + 0x10000;
  encoded = 0;

  private readonly specialTokens: readonly string[];

  /** `missing` are taken from the usual control tokens, `more` are added. */
  constructor(
    private readonly missing: readonly string[] = [],
    more: readonly string[] = [],
  ) {
    this.specialTokens = [...new Set([...specialTokens, ...more])];
  }

  encode(text: string): Int32Array {
    this.encoded += text.length;
    return Int32Array.from({ length: text.length }, (_, index) => firstText + text.charCodeAt(index));
  }

  encodeWithSpecialTokens(text: string): Int32Array {
    return this.encode(text);
  }

  idOf(token: string): number | undefined {
    const id = this.specialTokens.indexOf(token);
    return id < 0 || this.missing.includes(token) ? undefined : id;
  }

  isSpecial(id: number): boolean {
    return id < firstText;
  }

  bytesOf(id: number): Uint8Array {
    return new TextEncoder().encode(this.detokenize([id]));
  }

  detokenize(ids: Iterable<number>): string {
    return [...ids].map((id) => (id < firstText ? "" : String.fromCharCode(id - firstText))).join("");
  }

  /** A prompt as a reader sees it, control tokens by name. */
  spell(ids: Iterable<number>): string {
    return [...ids].map((id) => this.specialTokens[id] ?? String.fromCharCode(id - firstText)).join("");
  }

  createDetokenizer() {
    return { push: (id: number) => this.detokenize([id]), end: () => "" };
  }
}

export interface FakeAnswer {
  readonly text: string;
  /** Probability of the tokens of each step, by its text; 0.9 unless told. */
  readonly probability?: number | ((text: string) => number);
  /** Milliseconds before each step. */
  readonly stepMs?: number;
  readonly error?: Error;
}

export interface FakeModelOptions {
  readonly name?: string;
  /** What the card says; `spm` unless told. */
  readonly fimFormat?: string | undefined;
  readonly minConfidence?: number;
  readonly tokenizer?: CharacterTokenizer;
  readonly contextPairs?: number;
  readonly modes?: readonly ("pair" | "plain")[];
  /** What the engine says of itself otherwise than a small model on the processor. */
  readonly info?: Partial<EngineInfo>;
}

/** A model that answers what a function says, two characters per step, as the real one streams. */
export class FakeModel implements LoadedModel {
  readonly place = "fake";
  readonly maxPositions = 4096;
  readonly tokenizer: CharacterTokenizer;
  readonly card: ModelCard;
  readonly info: EngineInfo;
  readonly requests: TextRequest[] = [];
  /** Prompts as a reader sees them. */
  readonly prompts: string[] = [];
  stepsRun = 0;
  running = 0;
  mostAtOnce = 0;
  closed = false;
  sessionsClosed = 0;

  constructor(
    readonly answer: (prompt: string) => FakeAnswer | string,
    options: FakeModelOptions = {},
  ) {
    this.tokenizer = options.tokenizer ?? new CharacterTokenizer();
    this.card = {
      name: options.name ?? "fake-model",
      version: "1",
      family: "fake",
      fimFormat: "fimFormat" in options ? options.fimFormat : "spm",
      minConfidence: options.minConfidence,
      defaultThreshold: 0.7,
      preGateThreshold: 0,
      padTokenId: 0,
      stopTokenIds: [1],
      contextPairs: options.contextPairs ?? 4096,
      maxSuffixTokens: undefined,
      chatTemplate: undefined,
      license: "none",
    };
    this.info = {
      name: "fake-model",
      backend: "fake",
      threads: 1,
      dtype: "int8",
      groupSize: 32,
      weightBytes: 0,
      bytesPerStep: { backbone: 0, draft: 0, head: 0 },
      parameters: 0,
      modes: options.modes ?? ["pair", "plain"],
      fromPackedFile: false,
      loadMs: 0,
      ...options.info,
    };
  }

  get native(): NativeEngine {
    throw new Error("a fake model has no native engine");
  }

  createSession(): TextSession {
    return {
      generate: (request, onStep) => this.generate(request, onStep),
      reset: () => undefined,
      close: () => void (this.sessionsClosed += 1),
    };
  }

  async close(): Promise<void> {
    this.closed = true;
  }

  private async generate(request: TextRequest, onStep?: (step: TextStep) => boolean | void): Promise<TextResult> {
    this.requests.push(request);
    const prompt = this.tokenizer.spell(request.promptIds);
    this.prompts.push(prompt);
    const said = this.answer(prompt);
    const answer: FakeAnswer = typeof said === "string" ? { text: said } : said;
    if (answer.error) throw answer.error;
    this.running += 1;
    this.mostAtOnce = Math.max(this.mostAtOnce, this.running);
    try {
      return await this.write(answer, request, onStep);
    } finally {
      this.running -= 1;
    }
  }

  private async write(
    { text, probability = 0.9, stepMs = 0 }: FakeAnswer,
    request: TextRequest,
    onStep?: (step: TextStep) => boolean | void,
  ): Promise<TextResult> {
    const steps: TextStep[] = [];
    const startedAt = performance.now();
    let stopReason: StopReason = text.length > request.maxNewTokens ? "maxNewTokens" : "stopId";
    const probabilityOf = typeof probability === "number" ? () => probability : probability;
    for (let at = 0; at < Math.min(text.length, request.maxNewTokens); at += 2) {
      await (stepMs > 0 ? sleep(stepMs) : nextTick());
      if (request.signal?.aborted) {
        stopReason = "cancelled";
        break;
      }
      const [first, second] = this.tokenizer.encode(text.slice(at, at + 2));
      const logprob = request.logprobs ? Math.log(probabilityOf(text.slice(at, at + 2))) : null;
      const elapsed = performance.now() - startedAt;
      const step: TextStep = {
        text: text.slice(at, at + 2),
        step: {
          first: first!,
          second: second ?? null,
          confidence: 0.9,
          firstLogprob: logprob,
          secondLogprob: second === undefined ? null : logprob,
          firstAtMs: elapsed,
          doneAtMs: elapsed,
        },
      };
      this.stepsRun += 1;
      steps.push(step);
      if (onStep?.(step) === false) {
        stopReason = "listenerStopped";
        break;
      }
    }
    return this.result(steps, stopReason, request.promptIds.length);
  }

  private result(textSteps: readonly TextStep[], stopReason: StopReason, promptTokens: number): TextResult {
    const text = textSteps.map((step) => step.text).join("");
    const tokens = this.tokenizer.encode(text);
    const steps = textSteps.length;
    const stats = {
      promptTokens,
      cachedPositions: 0,
      extendPositions: Math.ceil(promptTokens / 2),
      steps,
      tokens: tokens.length,
      accepted: tokens.length - steps,
      gated: 0,
      draftsSkipped: 0,
      tokensPerStep: steps === 0 ? 0 : tokens.length / steps,
      ttftMs: 1,
      tpotMs: 1,
      prefillMs: 1,
      totalMs: 1,
    };
    return { text, textSteps, tokens, slots: tokens, stopReason, stats };
  }
}
