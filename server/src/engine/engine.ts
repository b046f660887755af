import type { ModelCard } from "../model/card.js";
import type { Tokenizer } from "../model/tokenizer.js";
import type {
  DecodeMode,
  DraftContext,
  EngineInfo,
  GenerateResult,
  LoadProgress,
  NativeEngine,
  SamplingOptions,
  Step,
  WeightDtype,
} from "./addon.js";

/** How a model is opened. Everything has a default. */
export interface OpenOptions {
  /** PEFT LoRA adapter directory to merge at load. */
  readonly adapter?: string;
  /** Default `int8`. */
  readonly dtype?: WeightDtype;
  /** Default 32. */
  readonly groupSize?: 32 | 64;
  /** Default 0: cores − 1. */
  readonly threads?: number;
  /** Directory for packed files; absent: pack in memory only. */
  readonly packedDirectory?: string;
  /** Kernel target to force. */
  readonly kernels?: string;
}

/** A loaded model. Remote engines will offer the same, without `native`. */
export interface LoadedModel {
  readonly directory: string;
  readonly card: ModelCard;
  readonly tokenizer: Tokenizer;
  readonly info: EngineInfo;
  /** The engine under it, for the benchmark and `inspect`. */
  readonly native: NativeEngine;
  /** A timeline of its own; `maxPositions` defaults to the card's `contextPairs`. */
  createSession(maxPositions?: number): TextSession;
  /** Cancels what runs, waits for it, frees everything. */
  close(): Promise<void>;
}

export interface TextRequest {
  /** The whole prompt; a session that has executed a prefix of it extends. */
  readonly promptIds: Int32Array;
  readonly maxNewTokens: number;
  /** Default: the card's threshold. */
  readonly threshold?: number;
  /** Default: `pair` where the model can. */
  readonly mode?: DecodeMode;
  /** Default: greedy. Missing fields are off. */
  readonly sampling?: Partial<SamplingOptions>;
  /** Default: the card's stop ids. */
  readonly stopIds?: readonly number[];
  readonly allowedIds?: Uint8Array;
  readonly draftContext?: DraftContext;
  readonly logprobs?: boolean;
  /** Aborting stops within one decode step; the result then has the stop reason `cancelled`. */
  readonly signal?: AbortSignal;
}

/** What one decode step adds. `text` is complete characters only and may be empty. */
export interface TextStep {
  readonly text: string;
  readonly step: Step;
}

export interface TextResult extends GenerateResult {
  /** Everything generated, special tokens and PAD removed. */
  readonly text: string;
  readonly textSteps: readonly TextStep[];
}

/** One mutable timeline; at most one request at a time. */
export interface TextSession {
  /** `onStep` returning `false` stops generation after that step (stop reason `listenerStopped`). */
  generate(request: TextRequest, onStep?: (step: TextStep) => boolean | void): Promise<TextResult>;
  /** Forgets the timeline. */
  reset(): void;
  /** Frees the memory; a running request ends first. */
  close(): void;
}

export type ProgressListener = (progress: LoadProgress) => void;
