/**
 * Messages beyond the standard protocol: method, shape and meaning of each in one place.
 *
 * Suggestions themselves travel as standard `textDocument/inlineCompletion`. An editor that knows
 * none of the messages below loses nothing but the status and the statistics.
 */

/** A message without an answer. The type parameter only carries the shape of its parameters. */
export interface NotificationName<Params> {
  readonly method: string;
  readonly params?: Params;
}

/** A message with an answer. */
export interface RequestName<Params, Result> {
  readonly method: string;
  readonly params?: Params;
  readonly result?: Result;
}

/** Server to client: the server's state changed. Sent once after `initialized`, then on every change. */
export const statusNotification: NotificationName<ServerStatus> = { method: "pipo/status" };

export type ServerState =
  /** The server runs, no model is loaded yet: it will be when it is needed. */
  | "starting"
  /** The model is being loaded; {@link ServerStatus.progress} says how far. */
  | "loading"
  | "ready"
  /** A suggestion is being generated, and has been for a moment. */
  | "busy"
  /** No suggestions in the document that was asked about, or with this model; {@link ServerStatus.reason} says why. */
  | "disabled"
  /** No suggestions until something is done; {@link ServerStatus.message} says what. */
  | "error";

/** What the user can do about an error; the client offers it as a button. */
export type StatusAction = "selectModel" | "openSettings" | "restartEngine" | "reinstall" | "showLog";

export interface ServerStatus {
  readonly state: ServerState;
  /** Name of the model; null before it is known. */
  readonly model: string | null;
  /** What computes, for example a kernel target and thread count; null before loading. */
  readonly backend: string | null;
  /** Why no GPU is used where one would have been; null when there is nothing to say. */
  readonly backendNote: string | null;
  /** Where the newest answer with text came from; null before the first one. */
  readonly source: ResultSource | null;
  /** Milliseconds from request to answer of the newest answer with text. */
  readonly lastLatencyMs: number | null;
  /** Why the newest answer was empty; null when it was not. */
  readonly reason: EmptyReason | null;
  /** The reason in words, with the pattern or setting that caused it; or the error in words. */
  readonly message: string | null;
  /** 0..1 while loading, otherwise null. */
  readonly progress: number | null;
  /** Only with state `error`. */
  readonly action: StatusAction | null;
}

/** Where a suggestion came from. */
export type ResultSource =
  /** Generated for this request. */
  | "model"
  /** A finished suggestion for the same text before and after the cursor. */
  | "completionCache"
  /** The rest of the suggestion that the user is typing. */
  | "typedAsSuggested";

/** Why an answer has no suggestion. Closed; each value is explained to the user by {@link emptyReasonText}. */
export type EmptyReason =
  | "disabled"
  | "excludedFile"
  | "notTextDocument"
  | "invalidPosition"
  | "binaryContent"
  | "selectedCompletionMismatch"
  | "midWord"
  | "midLine"
  | "emptyDocument"
  | "engineFailed"
  | "noFillInMiddle"
  | "superseded"
  | "cancelled"
  | "timeLimit"
  | "lowConfidence"
  | "emptyText"
  | "filtered";

export const emptyReasonText: Readonly<Record<EmptyReason, string>> = {
  disabled: "Suggestions are switched off for this file.",
  excludedFile: "This file matches a pattern of files that are never read.",
  notTextDocument: "Suggestions are not offered in this kind of document.",
  invalidPosition: "The position lies outside the document.",
  binaryContent: "The document contains binary data.",
  selectedCompletionMismatch: "The selected entry of the suggestion list does not fit the text before the cursor.",
  midWord: "The cursor is inside a word.",
  midLine: "There is code after the cursor on this line.",
  emptyDocument: "The document is empty.",
  engineFailed: "The model could not be loaded or has failed.",
  noFillInMiddle: "The model is not used for suggestions, because it cannot fill in the middle.",
  superseded: "The text changed, or a newer request replaced this one.",
  cancelled: "The editor withdrew the request.",
  timeLimit: "The time limit passed before there was something to show.",
  lowConfidence: "The model was not sure enough.",
  emptyText: "The model had nothing to add.",
  filtered: "What the model wrote only repeated what is already there.",
};

/**
 * Server command, named in the `command` of every suggestion, so that accepting it is counted in any
 * editor: `workspace/executeCommand` with one argument, the suggestion's id. The stock clients of
 * VS Code and Neovim send it by themselves.
 */
export const suggestionAcceptedCommand = "pipo.suggestionAccepted";

/**
 * Client to server: whether details of every request are to be logged, because somebody can see them. Off until it is sent;
 * an editor that traces instead (`$/setTrace`) gets them as `$/logTrace`.
 */
export const logDetailsNotification: NotificationName<{ readonly on: boolean }> = { method: "pipo/logDetails" };

/** Client to server: load the model again, with the settings as they are now. Answers when that has begun. */
export const restartEngineRequest: RequestName<null, null> = { method: "pipo/restartEngine" };

/** Client to server: what happened in the newest request, stage by stage; null before the first one. */
export const lastTraceRequest: RequestName<null, CompletionTrace | null> = { method: "pipo/lastTrace" };

/** Client to server: counts and latencies since the server started. They never leave the machine. */
export const statisticsRequest: RequestName<null, CompletionStatistics> = { method: "pipo/statistics" };

/** Steps from request to answer, in order. */
export type Stage = "settings" | "document" | "reuse" | "engine" | "prompt" | "generate" | "postprocess";

export interface CompletionTrace {
  readonly id: string;
  readonly uri: string;
  readonly languageId: string;
  readonly line: number;
  readonly character: number;
  readonly invoked: boolean;
  readonly outcome: TraceOutcome;
  /** Milliseconds per stage that was reached. */
  readonly stages: readonly { readonly stage: Stage; readonly ms: number }[];
  readonly totalMs: number;
  /** Absent when the model was not asked. */
  readonly generation?: GenerationTrace;
}

export type TraceOutcome =
  | { readonly kind: "suggestion"; readonly source: ResultSource; readonly text: string }
  | { readonly kind: "empty"; readonly reason: EmptyReason; readonly detail?: string };

export interface GenerationTrace {
  readonly mode: "pair" | "plain";
  readonly block: boolean;
  readonly stopReason: string;
  readonly promptTokens: number;
  readonly cachedPositions: number;
  readonly extendPositions: number;
  readonly tokens: number;
  readonly steps: number;
  readonly accepted: number;
  readonly gated: number;
  readonly draftsSkipped: number;
  readonly tokensPerStep: number;
  readonly ttftMs: number;
  readonly tpotMs: number;
  /** Mean probability of the first line's first tokens, 0..1; what `completion.minConfidence` is compared with. */
  readonly confidence: number | null;
  /** The model's text before the filters. */
  readonly rawText: string;
  /** Filters that changed the text, in order. */
  readonly filters: readonly string[];
}

export interface CompletionStatistics {
  readonly requests: number;
  readonly suggestions: number;
  readonly accepted: number;
  readonly acceptedCharacters: number;
  readonly bySource: Readonly<Record<ResultSource, number>>;
  readonly byReason: Readonly<Record<EmptyReason, number>>;
  /** Milliseconds from request to answer over the newest answers that came from the model; null without any. */
  readonly latencyMs: { readonly p50: number; readonly p95: number; readonly count: number } | null;
  /** Over all generations. */
  readonly tokens: number;
  readonly steps: number;
}

/** Client to server: every model that can be chosen, and how it would do on this machine. */
export const modelsRequest: RequestName<null, ModelList> = { method: "pipo/models" };

/**
 * Client to server: fetch a model of the catalogue into the models folder. Answers when that has ended, one way or another;
 * cancelling the request stops it and keeps what has arrived. Meanwhile {@link pullProgressNotification} says how far it is.
 */
export const pullModelRequest: RequestName<PullModelParams, PullModelResult> = { method: "pipo/pullModel" };

/** Server to client, several times a second while a model is fetched. */
export const pullProgressNotification: NotificationName<PullProgress> = { method: "pipo/pullProgress" };

export interface ModelList {
  /** The catalogue from small to large, then what other programs keep on this machine, then the bundled models. */
  readonly models: readonly ListedModel[];
  /** Name of the model of the catalogue that suits this machine; null where none does. */
  readonly recommended: string | null;
  /** Where downloaded models are kept. */
  readonly folder: string;
}

export interface ListedModel {
  /** What `pipo.model.path` takes; empty for the bundled model that is used when nothing is set. */
  readonly setting: string;
  /** For people. Names of found models come from outside the program: control characters are out, nothing else is. */
  readonly title: string;
  readonly group: "catalogue" | "found" | "bundled";
  /** Where it lies; null while it has to be fetched first. */
  readonly path: string | null;
  /** Of the file, or of what is fetched; null where that is not known. */
  readonly bytes: number | null;
  /** Null where nothing is said. */
  readonly licence: string | null;
  /** What it is good for; empty where that is not known. */
  readonly abilities: readonly ModelAbility[];
  /** Null for models that run anywhere. */
  readonly fit: ModelFit | null;
  /** Null where it cannot be told. */
  readonly expected: ModelSpeed | null;
  /** Program that keeps a found model; null for others. */
  readonly program: string | null;
}

export type ModelAbility = "completion" | "chat" | "thinking";

export interface ModelFit {
  readonly kind: "well" | "slow" | "tight" | "tooLarge";
  /** For example "too large for this machine: needs 6.0 GB, 4.0 GB free". */
  readonly words: string;
}

export interface ModelSpeed {
  /** Tokens written in a second. */
  readonly tokensPerSecond: number;
  /** Tokens of a prompt read in a second. */
  readonly promptTokensPerSecond: number;
}

export interface PullModelParams {
  /** Name in the catalogue. */
  readonly name: string;
  /** Also when the machine has too little memory for it. */
  readonly evenIfTooLarge?: boolean;
}

export type PullModelResult =
  | { readonly kind: "ready"; readonly path: string }
  | { readonly kind: "cancelled" }
  | { readonly kind: "failed"; readonly message: string };

export interface PullProgress {
  readonly name: string;
  /** `waiting`: another window is fetching the same model. */
  readonly stage: "waiting" | "downloading" | "checking";
  readonly receivedBytes: number;
  readonly totalBytes: number;
  /** Where the bytes come from; empty while nothing is asked. */
  readonly source: string;
}
