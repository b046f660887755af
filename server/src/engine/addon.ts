/**
 * The contract with the native engine: what `pipo_engine.node` exports, as plain data.
 *
 * Formats are read in TypeScript and handed over as tables; tensors are used in C++. Nothing here
 * blocks the event loop: loading, generating and inspecting run on the engine's own threads and
 * answer with promises. Every rejection is an `Error` whose message says what to do and whose
 * `code` is an {@link EngineErrorCode}.
 */

/** Element types that checkpoints store on disk: plain ones, and the block formats of GGUF under its own names. */
export type DiskDtype =
  | "F32"
  | "BF16"
  | "F16"
  | "Q8_0"
  | "Q4_0"
  | "Q4_1"
  | "Q5_0"
  | "Q5_1"
  | "Q2_K"
  | "Q3_K"
  | "Q4_K"
  | "Q5_K"
  | "Q6_K"
  | "IQ4_NL";

/**
 * Weight formats in memory. `int8` and `int4` are rounded here, one scale per group of inputs; `mix` is int4 in the MLPs,
 * else int8. `stored` keeps every matrix in the format that holds its type on disk exactly or nearly so.
 */
export type WeightDtype = "f32" | "bf16" | "int8" | "int4" | "mix" | "stored";

/** Where the bytes of one tensor lie. Offsets are absolute in the file, in bytes. */
export interface TensorRef {
  readonly file: string;
  readonly offset: number;
  readonly bytes: number;
  readonly dtype: DiskDtype;
  /** Rows first: `[outputs, inputs]`. */
  readonly shape: readonly number[];
  /**
   * Heads whose rows are stored for a rotation of neighbours, `[i, i + 1]` for the engine's `[i, i + head_dim / 2]`, as GGUF
   * has Q and K of the llama family; absent: rows are in the engine's order.
   */
  readonly interleavedHeads?: number;
}

/** A tensor under its canonical name (`model.` prefix; `mtp.`, `compressor.`, `confidence_head.`, `pre_gate.` at top level). */
export interface TensorSource extends TensorRef {
  readonly name: string;
  /** LoRA update merged at load: `W + scale * B A`, A `[rank, in]`, B `[out, rank]`. */
  readonly lora?: { readonly a: TensorRef; readonly b: TensorRef; readonly scale: number };
}

export type LayerType = "full_attention" | "linear_attention";
export type CompressorType = "linear" | "mlp";
/** An RMS norm multiplies by its weight, or by one plus its weight. */
export type NormWeight = "plain" | "zeroCentred";
export type RopeScalingType = "linear" | "llama3" | "yarn";

/** How rotary frequencies are stretched beyond the length that a model was trained for. Meaning as in transformers' `rope_parameters`. */
export interface RopeScaling {
  readonly type: RopeScalingType;
  readonly factor: number;
  /** llama3 and yarn; 0 for linear. */
  readonly originalMaxPositions: number;
  /** llama3; 0 for others. */
  readonly lowFrequencyFactor: number;
  readonly highFrequencyFactor: number;
  /** yarn; 0 for others. */
  readonly betaFast: number;
  readonly betaSlow: number;
  /** Factor of cosines and sines, worked out by the reader of the config; 1 for linear and llama3. */
  readonly attentionFactor: number;
}

/**
 * A model's architecture and sizes, after defaults are filled in and checked against the tensors. The engine knows no
 * families: what makes one differ from another stands here as data. Also what a packed file stores; its fields and
 * words are those of native/include/pipo/model_schema.h, held equal by a test.
 */
export interface ModelConfig {
  /** For messages only. */
  readonly family: string;
  readonly vocabSize: number;
  /** Ids at or above this are padding rows of the output matrix and are never produced. */
  readonly realVocabSize: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly layerTypes: readonly LayerType[];
  readonly numAttentionHeads: number;
  readonly numKeyValueHeads: number;
  readonly headDim: number;
  /** Of every norm of the model but the one inside a gated delta layer. */
  readonly normWeight: NormWeight;
  readonly rmsNormEps: number;
  /** Whether queries and keys of full attention are normed per head. */
  readonly queryKeyNorm: boolean;
  /** Whether the query projection also yields a gate for each head's output. */
  readonly outputGate: boolean;
  /** Whether q_proj, k_proj and v_proj have biases. */
  readonly attentionBias: boolean;
  readonly rotaryDim: number;
  readonly ropeTheta: number;
  readonly ropeScaling?: RopeScaling;
  readonly linearConvKernelDim: number;
  readonly linearKeyHeadDim: number;
  readonly linearValueHeadDim: number;
  readonly linearNumKeyHeads: number;
  readonly linearNumValueHeads: number;
  readonly tieWordEmbeddings: boolean;
  /** Longest timeline, in positions (pairs in pair mode, tokens in plain mode). */
  readonly maxPositions: number;
  /** Absent for a plain checkpoint: then only plain decoding is offered. */
  readonly pipo?: {
    readonly compressor: CompressorType;
    readonly padTokenId: number;
    /** Whether the tensors hold a pre-gate; absent: no. */
    readonly preGate?: boolean;
  };
}

/** A tensor that a model of some config must have, as the engine's one table of tensors says. */
export interface TensorSpec {
  readonly name: string;
  readonly shape: readonly number[];
}

export interface ModelDescription {
  /** Shown in messages and stored in the packed file. */
  readonly name: string;
  readonly config: ModelConfig;
  readonly tensors: readonly TensorSource[];
  /** Identifies the source files (names, sizes, modification times, config); a packed file with another one is stale. */
  readonly fingerprint: string;
}

export interface LoadOptions {
  readonly dtype: WeightDtype;
  /** Inputs per scale for int8 and int4: 32 or 64. */
  readonly groupSize: 32 | 64;
  /** Worker threads including the caller; 0 means cores − 1, at least 1. */
  readonly threads: number;
  /** Packed file to map when fresh, or to write (atomically) when missing, stale or broken. Absent: pack in memory only. */
  readonly packedFile?: string;
  /**
   * `cuda`, `cpu`, or a kernel target of the CPU by name; `auto`, and when absent unless `PIPO_KERNELS` says otherwise: CUDA
   * where it can be used and the model fits, else the CPU.
   */
  readonly kernels?: string;
}

export type LoadStage = "checking" | "packing" | "mapping" | "uploading" | "ready";

export interface LoadProgress {
  readonly stage: LoadStage;
  /** 0..1 within the whole load. */
  readonly fraction: number;
}

export interface EngineInfo {
  readonly name: string;
  /** `cuda`, or the name of the CPU's kernels. */
  readonly backend: string;
  /** The device's name; absent on the CPU. */
  readonly device?: string;
  /** Why an automatic choice is not the device; absent when there is nothing to say. */
  readonly backendNote?: string;
  readonly threads: number;
  readonly dtype: WeightDtype;
  readonly groupSize: number;
  /** Bytes of weights in memory. */
  readonly weightBytes: number;
  /** Weight bytes read by one backbone step, one draft step without its LM head, and one LM head. */
  readonly bytesPerStep: { readonly backbone: number; readonly draft: number; readonly head: number };
  readonly parameters: number;
  readonly modes: readonly DecodeMode[];
  /** True when an existing packed file was mapped, false when it had to be made. */
  readonly fromPackedFile: boolean;
  /** Why the packed file could not be written, when that failed; loading goes on without it. */
  readonly packedFileNote?: string;
  readonly loadMs: number;
}

/** `pair`: two tokens per position with a gate. `plain`: one token per position, no PIPO tensors used. */
export type DecodeMode = "pair" | "plain";

/** Which rows the draft head may attend to: `full` is consistent with training and the default. */
export type DraftContext = "full" | "generated" | "self";

export interface SamplingOptions {
  /** 0 means greedy. */
  readonly temperature: number;
  /** 0 means off. */
  readonly topK: number;
  /** 1 means off. */
  readonly topP: number;
  /** 0 means off. */
  readonly minP: number;
  /** Subtracted once from the logit of every id already produced; 0 means off. PAD is exempt. */
  readonly presencePenalty: number;
  /** Divides positive and multiplies negative logits of ids in prompt and output; 1 means off. PAD is exempt. */
  readonly repetitionPenalty: number;
  /** Random draws are a function of (seed, slot), so results do not depend on scheduling. */
  readonly seed: number;
}

export interface GenerateRequest {
  readonly mode: DecodeMode;
  /** The whole prompt. A session that has executed a prefix of it extends instead of starting again. */
  readonly promptIds: Int32Array;
  /** Upper bound on real tokens (PAD is not counted). */
  readonly maxNewTokens: number;
  /** No stop id is produced before this many real tokens; 0 by default. */
  readonly minNewTokens?: number;
  /** Gate: < 0 off, 0 evaluated and always kept, (0, 1) kept when confidence >= threshold, >= 1 no draft step at all. */
  readonly threshold: number;
  /**
   * Pre-gate, asked before the draft step: (0, 1) drafts when its value >= this, >= 1 never drafts; 0, the default, and
   * below: off. Without effect on a model that has none.
   */
  readonly preGateThreshold?: number;
  readonly sampling: SamplingOptions;
  readonly stopIds: readonly number[];
  /** One bit per id (little-endian, bit i of byte i>>3); a cleared bit is never produced. */
  readonly allowedIds?: Uint8Array;
  readonly draftContext?: DraftContext;
  readonly logprobs?: boolean;
}

/** One decode step as it leaves the engine. `second` is null when it is PAD. */
export interface Step {
  readonly first: number;
  readonly second: number | null;
  /** Confidence of the draft; null where the head was not evaluated. */
  readonly confidence: number | null;
  /** Of the model's own distribution over the ids that may be produced, before penalties and temperature; null unless asked for. */
  readonly firstLogprob: number | null;
  readonly secondLogprob: number | null;
  /** Milliseconds since the request was submitted, when the first token was known. */
  readonly firstAtMs: number;
  /** Milliseconds since the request was submitted, when the step was complete. */
  readonly doneAtMs: number;
}

export type StopReason =
  | "stopId"
  | "maxNewTokens"
  | "cancelled"
  | "contextFull"
  | "listenerStopped"
  | "engineClosed";

export interface GenerateStats {
  readonly promptTokens: number;
  /** Positions of the prompt that were already in the session. */
  readonly cachedPositions: number;
  /** Positions of the prompt that were computed. */
  readonly extendPositions: number;
  readonly steps: number;
  /** Real tokens produced, stop id included. */
  readonly tokens: number;
  /** Drafts kept, and drafts rejected by the gate. Neither counts a skipped one. */
  readonly accepted: number;
  readonly gated: number;
  /** Draft steps that the pre-gate spared. */
  readonly draftsSkipped: number;
  readonly tokensPerStep: number;
  /** Submission to first token. */
  readonly ttftMs: number;
  /** Mean time per real token after the first; 0 when there is only one. */
  readonly tpotMs: number;
  readonly prefillMs: number;
  readonly totalMs: number;
}

export interface GenerateResult {
  /** Real tokens in order, PAD removed; ends with the stop id if one was hit. */
  readonly tokens: Int32Array;
  /** Two slots per step as executed, PAD included (plain mode: equal to `tokens`). */
  readonly slots: Int32Array;
  readonly stopReason: StopReason;
  readonly stats: GenerateStats;
}

export interface ScoredId {
  readonly id: number;
  readonly logit: number;
}

/** Teacher-forced view of one pair (pair mode) or one position (plain mode: `second` and `confidence` are null). */
export interface InspectedPosition {
  readonly index: number;
  readonly first: readonly ScoredId[];
  /** Null for the last pair, whose first token is not known. */
  readonly second: readonly ScoredId[] | null;
  readonly confidence: number | null;
  /** Null in plain mode and where the model has no pre-gate. */
  readonly preGate: number | null;
  /** All logits of the first token, up to `realVocabSize`; absent unless asked for. */
  readonly logits?: Float32Array;
}

export interface EngineSession {
  /**
   * Runs one request; at most one at a time per session (a second one rejects with `busy`).
   * `onStep` is called on the event loop once per decode step, in order; returning `false` stops generation.
   */
  generate(request: GenerateRequest, onStep?: (step: Step) => boolean | void): Promise<GenerateResult>;
  /** Stops the running request within one decode step or one layer of prefill; harmless when idle. */
  cancel(): void;
  /** Teacher-forced logits, `top` best per position. Resets the session's timeline. */
  inspect(ids: Int32Array, mode: DecodeMode, top: number, withLogits?: boolean): Promise<readonly InspectedPosition[]>;
  /** Forgets the timeline, keeps the memory. */
  reset(): void;
  /** Frees the session's memory; later calls reject with `closed`. */
  close(): void;
}

export interface NativeEngine {
  readonly info: EngineInfo;
  createSession(options: { readonly maxPositions: number }): EngineSession;
  /** Cancels running requests, waits for them, frees everything. */
  close(): Promise<void>;
}

export type EngineErrorCode =
  | "badFile"
  | "badConfig"
  | "missingTensor"
  | "badShape"
  | "notEnoughMemory"
  | "unsupported"
  | "badRequest"
  | "busy"
  | "closed"
  | "io"
  | "cancelled"
  | "internal";

export interface HostInfo {
  readonly version: string;
  readonly cpu: string;
  /** Kernel targets compiled in and usable on this CPU, best first. */
  readonly kernels: readonly string[];
  readonly cores: number;
  readonly totalMemory: number;
  readonly availableMemory: number;
}

/** The NVIDIA device that `auto` would take, or in words why none can be used: exactly one of the two is there. */
export interface CudaInfo {
  readonly device?: {
    readonly name: string;
    /** Compute capability, for example 9.0. */
    readonly capability: string;
    /** Newest CUDA version that the driver supports, for example 13.0. */
    readonly driver: string;
    readonly totalMemory: number;
    readonly freeMemory: number;
  };
  readonly reason?: string;
}

/** The fields and words of this contract as the engine has them: a test holds both equal. */
export interface Schema {
  /** Fields of {@link ModelConfig}, nested ones as `outer.inner`. */
  readonly config: readonly string[];
  readonly layerTypes: readonly LayerType[];
  readonly compressorTypes: readonly CompressorType[];
  readonly normWeights: readonly NormWeight[];
  readonly ropeScalingTypes: readonly RopeScalingType[];
  readonly diskDtypes: readonly DiskDtype[];
  readonly weightDtypes: readonly WeightDtype[];
  readonly decodeModes: readonly DecodeMode[];
  readonly draftContexts: readonly DraftContext[];
  readonly loadStages: readonly LoadStage[];
  readonly stopReasons: readonly StopReason[];
  readonly errorCodes: readonly EngineErrorCode[];
}

/** What the addon exports. */
export interface Addon {
  load(
    model: ModelDescription,
    options: LoadOptions,
    onProgress?: (progress: LoadProgress) => void,
  ): Promise<NativeEngine>;
  /** Loads a packed file alone, without the checkpoint that it was made from. */
  loadPacked(
    path: string,
    options: Omit<LoadOptions, "packedFile">,
    onProgress?: (progress: LoadProgress) => void,
  ): Promise<NativeEngine>;
  /** Writes a packed file of the given shape with random weights: benchmarks of models that are not at hand. */
  packRandom(
    config: ModelConfig,
    options: Pick<LoadOptions, "dtype" | "groupSize" | "threads">,
    path: string,
    onProgress?: (progress: LoadProgress) => void,
  ): Promise<void>;
  /** Every tensor of a model of this config, in a fixed order. Throws `badConfig` or `unsupported` for a config that cannot run. */
  tensorTable(config: ModelConfig): readonly TensorSpec[];
  schema(): Schema;
  hostInfo(): HostInfo;
  cudaInfo(): Promise<CudaInfo>;
  /** Sequential read bandwidth over `bytes` with `threads`, best of `passes`, in bytes per second. */
  measureReadBandwidth(bytes: number, threads: number, passes: number): Promise<number>;
}
