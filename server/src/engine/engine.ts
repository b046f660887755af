import { createHash } from "node:crypto";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import type { ModelCard } from "../checkpoints/card.js";
import { describeModel, type DescribedModel } from "../checkpoints/describe.js";
import { messageOf } from "../files.js";
import { errorCodeOf, ModelError } from "../modelError.js";
import type { Tokenizer } from "../tokenizer/tokenizer.js";
import type {
  DecodeMode,
  DraftContext,
  EngineInfo,
  EngineSession,
  GenerateRequest,
  GenerateResult,
  LoadProgress,
  NativeEngine,
  SamplingOptions,
  Step,
  WeightDtype,
} from "./addon.js";
import { loadAddon } from "./load.js";
import { defaultThreads } from "./threads.js";

/** How a model is opened. Everything has a default. */
export interface OpenOptions {
  /** PEFT LoRA adapter directory to merge at load. */
  readonly adapter?: string;
  /** Default `auto`: int8 for safetensors files; what a GGUF file holds stays as it is stored. */
  readonly dtype?: WeightDtype | "auto";
  /** Default 32. */
  readonly groupSize?: 32 | 64;
  /** Default 0: what {@link defaultThreads} says. */
  readonly threads?: number;
  /** Directory for packed files and tables of tokenizers; absent: everything is made anew in memory. */
  readonly packedDirectory?: string;
  /** The packed file itself, instead of a name chosen in `packedDirectory`. */
  readonly packedFile?: string;
  /** Default `auto`: an NVIDIA GPU where one can be used and the model fits. */
  readonly device?: EngineDevice;
  /** Kernel target of the CPU to force, whatever the device. */
  readonly kernels?: string;
}

export type EngineDevice = "auto" | "cpu" | "cuda";

/** What computes, in a few words. */
export function backendInWords({ backend, device, dtype, threads }: EngineInfo): string {
  return device === undefined ? `${backend}, ${dtype}, ${threads} threads` : `${backend} on ${device}, ${dtype}`;
}

/** A loaded model that takes and gives ids. */
export interface LoadedEngine {
  /** The directory or file that was given. */
  readonly place: string;
  readonly card: ModelCard;
  /** Most positions that a session may have. */
  readonly maxPositions: number;
  /** The engine itself; the caller closes it. */
  readonly native: NativeEngine;
}

/** A loaded model that speaks text. Remote engines will offer the same, without `native`. */
export interface LoadedModel extends LoadedEngine {
  readonly tokenizer: Tokenizer;
  readonly info: EngineInfo;
  /** A timeline of its own; `maxPositions` defaults to the card's `contextPairs`. */
  createSession(maxPositions?: number): TextSession;
  /** Cancels what runs, waits for it, frees everything. */
  close(): Promise<void>;
}

export interface TextRequest {
  /** The whole prompt; a session that has executed a prefix of it extends. */
  readonly promptIds: Int32Array;
  readonly maxNewTokens: number;
  /** No stop id before this many tokens; 0 by default. */
  readonly minNewTokens?: number;
  /** Default: the card's threshold. */
  readonly threshold?: number;
  /** Default: the card's. */
  readonly preGateThreshold?: number;
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
  /** Everything generated up to the stop, without stop ids, special tokens and PAD. */
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

/** Loads a model with its tokenizer. Throws an Error with an EngineErrorCode as `code` and a message that says what to do. */
export async function loadModel(
  place: string,
  options: OpenOptions = {},
  onProgress?: ProgressListener,
): Promise<LoadedModel> {
  const described = await describe(place, options);
  const tokenizer = requireTokenizer(described);
  return new NativeModel(await openEngine(described, options, onProgress), tokenizer);
}

/** Loads a model that may have no tokenizer, for ids in and ids out. Errors as `loadModel`. */
export async function loadEngine(
  place: string,
  options: OpenOptions = {},
  onProgress?: ProgressListener,
): Promise<LoadedEngine> {
  return openEngine(await describe(place, options), options, onProgress);
}

/** The first half of {@link loadEngine}: reads and checks a model's files against what this engine runs. */
export async function describe(place: string, { adapter, packedDirectory }: OpenOptions = {}): Promise<DescribedModel> {
  const tokenTableFile = packedDirectory && path.join(packedDirectory, `${placeKey(place, adapter)}.tokens`);
  // A table that cannot be kept is built again the next time; why, the packed file's note will say.
  if (packedDirectory) await mkdir(packedDirectory, { recursive: true }).catch(() => undefined);
  return describeModel(place, { tensorTable: loadAddon().tensorTable, adapter, tokenTableFile });
}

/** The tokenizer of a described model. Throws what keeps it from having one. */
export function requireTokenizer({ tokenizer, tokenizerProblem }: DescribedModel): Tokenizer {
  if (tokenizer) return tokenizer;
  throw tokenizerProblem ?? new ModelError("internal", "A model without a tokenizer says no reason.");
}

/** The second half of {@link loadEngine}, for callers that look at the description first. */
export async function openEngine(
  described: DescribedModel,
  options: OpenOptions,
  onProgress?: ProgressListener,
): Promise<LoadedEngine> {
  const { groupSize = 32, device = "auto" } = options;
  const threads = options.threads || defaultThreads();
  const dtype = weightDtype(described, options);
  const kernels = options.kernels ?? (device === "auto" ? undefined : device);
  const packedFile =
    options.packedFile ?? packedFileIn(options.packedDirectory, described, { dtype, groupSize }, options.adapter);
  const { place, card, description } = described;
  const native = await loadAddon()
    .load(
      description,
      { dtype, groupSize, threads, ...(packedFile && { packedFile }), ...(kernels && { kernels }) },
      onProgress,
    )
    .catch((error: unknown) => {
      throw kernels === "cuda" ? deviceError(error) : error;
    });
  return { place, card, maxPositions: description.config.maxPositions, native };
}

function weightDtype({ format }: DescribedModel, { dtype = "auto" }: OpenOptions): WeightDtype {
  if (dtype !== "auto") return dtype;
  return format === "gguf" ? "stored" : "int8";
}

/** A device that was asked for cannot be used, or not for this model; the way out is another setting. */
export class DeviceError extends ModelError {}

function deviceError(error: unknown): unknown {
  const code = errorCodeOf(error);
  if (code !== "unsupported" && code !== "notEnoughMemory") return error;
  const advice = 'Set pipo.engine.device (on the command line --device) to "auto" or "cpu" to compute on the processor.';
  return new DeviceError(code, `${messageOf(error).replace(/\.?$/, ".")} ${advice}`, { cause: error });
}

/** One name per place and format, so that a changed model replaces its own stale file. */
function packedFileIn(
  packedDirectory: string | undefined,
  { place, card }: DescribedModel,
  { dtype, groupSize }: { dtype: WeightDtype; groupSize: number },
  adapter?: string,
): string | undefined {
  if (packedDirectory === undefined) return undefined;
  const name = card.name.replace(/[^A-Za-z0-9._-]+/g, "-").slice(0, 60);
  return path.join(packedDirectory, `${name}-${placeKey(place, adapter)}-${dtype}-g${groupSize}.pipo`);
}

function placeKey(place: string, adapter = ""): string {
  const both = [path.resolve(place), adapter && path.resolve(adapter)].join("\0");
  return createHash("sha256").update(both).digest("hex").slice(0, 12);
}

class NativeModel implements LoadedModel {
  readonly place: string;
  readonly card: ModelCard;
  readonly maxPositions: number;
  readonly native: NativeEngine;
  readonly info: EngineInfo;

  constructor(
    engine: LoadedEngine,
    readonly tokenizer: Tokenizer,
  ) {
    this.place = engine.place;
    this.card = engine.card;
    this.maxPositions = engine.maxPositions;
    this.native = engine.native;
    this.info = engine.native.info;
  }

  createSession(maxPositions = this.card.contextPairs): TextSession {
    return new NativeTextSession(this, this.native.createSession({ maxPositions }));
  }

  close(): Promise<void> {
    return this.native.close();
  }
}

/** Everything off: the best id every time. */
export const greedy: SamplingOptions = {
  temperature: 0,
  topK: 0,
  topP: 1,
  minP: 0,
  presencePenalty: 0,
  repetitionPenalty: 1,
  seed: 0,
};

class NativeTextSession implements TextSession {
  constructor(
    private readonly model: LoadedModel,
    private readonly session: EngineSession,
  ) {}

  async generate(request: TextRequest, onStep?: (step: TextStep) => boolean | void): Promise<TextResult> {
    const textSteps: TextStep[] = [];
    const detokenizer = this.model.tokenizer.createDetokenizer();
    const cancel = () => this.session.cancel();
    const { signal } = request;
    const nativeRequest = toGenerateRequest(request, this.model);
    const textOf = (id: number | null) =>
      id === null || nativeRequest.stopIds.includes(id) ? "" : detokenizer.push(id);
    const running = this.session.generate(nativeRequest, (step) => {
      const text = textOf(step.first) + textOf(step.second);
      const textStep = { text, step };
      textSteps.push(textStep);
      return onStep?.(textStep);
    });
    signal?.addEventListener("abort", cancel, { once: true });
    if (signal?.aborted) cancel();
    try {
      const result = await running;
      const text = textSteps.map((s) => s.text).join("") + detokenizer.end();
      return { ...result, text, textSteps };
    } finally {
      signal?.removeEventListener("abort", cancel);
    }
  }

  reset(): void {
    this.session.reset();
  }

  close(): void {
    this.session.close();
  }
}

/** Fills in the model's defaults. */
export function toGenerateRequest(
  request: TextRequest,
  { card, native }: Pick<LoadedEngine, "card" | "native">,
): GenerateRequest {
  const mode = request.mode ?? (native.info.modes.includes("pair") ? "pair" : "plain");
  const stopIds = request.stopIds ?? card.stopTokenIds;
  return {
    mode,
    promptIds: request.promptIds,
    maxNewTokens: request.maxNewTokens,
    ...(request.minNewTokens !== undefined && { minNewTokens: request.minNewTokens }),
    threshold: request.threshold ?? card.defaultThreshold,
    preGateThreshold: request.preGateThreshold ?? card.preGateThreshold,
    sampling: { ...greedy, ...request.sampling },
    // A rejected draft leaves PAD, so in pair mode PAD must not end the text, whatever generation_config.json says.
    stopIds: mode === "pair" ? stopIds.filter((id) => id !== card.padTokenId) : stopIds,
    ...(request.allowedIds && { allowedIds: request.allowedIds }),
    ...(request.draftContext && { draftContext: request.draftContext }),
    ...(request.logprobs !== undefined && { logprobs: request.logprobs }),
  };
}
