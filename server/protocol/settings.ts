/**
 * Settings as they cross the wire: the value of the section `pipo`.
 *
 * Constraints and defaults stand once, in `server/src/config/schema.ts`; a test keeps them equal to
 * the manifest. The server asks for the section with `workspace/configuration` once per document
 * (`scopeUri` is the document), so a client whose settings can differ by language answers for that
 * document's language. A client that cannot answer gets the defaults, changed by
 * {@link ServerInitializationOptions.settings} and `workspace/didChangeConfiguration`.
 */
export interface PipoSettings {
  readonly completion: CompletionSettings;
  readonly model: ModelSettings;
  readonly engine: EngineSettings;
}

export interface CompletionSettings {
  /** Whether suggestions are offered; may differ by language. */
  readonly enabled: boolean;
  /**
   * How sure the model must be of a line, 0 to 1: the geometric mean of the probabilities of its first tokens. A suggestion
   * ends before the first line of which it is less sure; where that is the first one, nothing is shown. 0 shows everything.
   * Null takes what the model recommends.
   */
  readonly minConfidence: number | null;
  /** `auto`: a whole block where the cursor opens one; `never`: one line only. */
  readonly multiline: MultilineMode;
  /** Most lines in one suggestion. */
  readonly maxLines: number;
  /**
   * Milliseconds after which what is there is shown or dropped. A block may take twice as long. Null: what a line of the
   * model takes on this machine, 800 at least.
   */
  readonly timeLimitMs: number | null;
  /** Glob patterns of files in which nothing is suggested and nothing is read. */
  readonly exclude: readonly string[];
}

export type MultilineMode = "auto" | "never";

export interface ModelSettings {
  /** Directory of a checkpoint; empty means the bundled model. */
  readonly path: string;
  /** How the model is asked to fill in the middle. `auto`: as the model says, or as models of its name were trained. */
  readonly fimFormat: FimFormat;
}

/** `auto`, or a row of the server's table of formats. */
export type FimFormat =
  | "auto"
  | "joined"
  | "spm"
  | "qwen"
  | "starcoder"
  | "deepseek"
  | "mellum"
  | "seed"
  | "codellama"
  | "codestral";

export interface EngineSettings {
  /** `background`: load soon after the editor starts; `firstRequest`: load when a suggestion is first asked for. */
  readonly start: EngineStart;
  /** What computes. `auto`: an NVIDIA GPU where one can be used and the model fits, else the processor. */
  readonly device: "auto" | "cpu" | "cuda";
  /** Weight format in memory; `auto` takes what the model recommends. */
  readonly dtype: "auto" | "f32" | "bf16" | "int8" | "int4" | "mix";
  /** Worker threads; 0 means all cores but one, and both where there are two. */
  readonly threads: number;
  /** Two tokens per step with the gate, or one token per step. `auto`: pairs where the model has them. */
  readonly mode: "auto" | "pair" | "plain";
  /** Second tokens are kept from this confidence on, 0 to 1; null takes what the model recommends. */
  readonly threshold: number | null;
}

export type EngineStart = "background" | "firstRequest";

/** Name of the settings section. */
export const settingsSection = "pipo";

/**
 * Kinds of documents in which suggestions are offered: files here, on a virtual or a remote file system, new ones, and cells
 * of notebooks. An editor's own kinds that are not among them are logs, consoles, input boxes and settings.
 */
export const offeredSchemes: readonly string[] = [
  "file",
  "untitled",
  "vscode-vfs",
  "vscode-remote",
  "vscode-test-web",
  "vscode-notebook-cell",
];

/** What a client may send as `initializationOptions`; everything is optional. */
export interface ServerInitializationOptions {
  /** Directory of the bundled model, for clients that install it elsewhere than beside the server. */
  readonly bundledModelPath?: string;
  /** Directory for packed weights; without it the user's cache directory is taken. */
  readonly cacheDir?: string;
  /** Send `pipo/status`: absent or false for clients that would show it as a message they do not know. */
  readonly status?: boolean;
  /** Settings to start from, any part of {@link PipoSettings}. */
  readonly settings?: DeepPartial<PipoSettings>;
}

export type DeepPartial<T> = T extends readonly unknown[]
  ? T
  : T extends object
    ? { readonly [K in keyof T]?: DeepPartial<T[K]> }
    : T;
