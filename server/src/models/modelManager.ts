import type { StatusAction } from "../../protocol/messages.js";
import type { EngineSettings, ModelSettings } from "../../protocol/settings.js";
import { backendInWords, DeviceError, type LoadedModel } from "../engine/engine.js";
import { messageOf } from "../files.js";
import type { Logger } from "../log.js";
import { errorCodeOf } from "../modelError.js";

/** Settings that decide which model is loaded and how. */
export interface LoadSettings {
  readonly model: ModelSettings;
  readonly engine: EngineSettings;
}

export type OpenModel = (settings: LoadSettings, onProgress: (fraction: number) => void) => Promise<LoadedModel>;

/** Closes what a consumer holds of a model. */
export type Release = (model: LoadedModel) => Promise<void>;

export type ModelState =
  | { readonly kind: "idle" }
  | { readonly kind: "loading"; readonly progress: number }
  | { readonly kind: "ready"; readonly model: LoadedModel }
  | { readonly kind: "failed"; readonly message: string; readonly action: StatusAction };

/** Failed generations in a row after which the engine counts as broken. */
const maxFailures = 3;

/**
 * Owns the loaded model, at most one: opens it when it is first needed, again when the settings that matter to it
 * change, and remembers a failure until something changes. What a model is good for is its consumers' business; they
 * hold sessions of it and let go of them when they hear that it is unloaded.
 */
export class ModelManager {
  private current: ModelState = { kind: "idle" };
  private settings: LoadSettings | undefined;
  private settingsKnown: () => void = () => undefined;
  private readonly configured = new Promise<void>((resolve) => (this.settingsKnown = resolve));
  private opening: Promise<LoadedModel | undefined> | undefined;
  private readonly consumers: Release[] = [];
  private ended = false;
  /** Counts loads; an opening of an older one is closed when it arrives. */
  private generation = 0;
  private failures = 0;

  constructor(
    private readonly open: OpenModel,
    private readonly log: Logger,
    private readonly onChange: (state: ModelState) => void,
  ) {}

  get state(): ModelState {
    return this.current;
  }

  /** Calls `release` before a model is freed, and waits for it. */
  onUnload(release: Release): void {
    this.consumers.push(release);
  }

  /** Takes settings; unloads a model that they no longer describe. Loading waits until it is needed. */
  async configure(settings: LoadSettings): Promise<void> {
    const changed = this.settings !== undefined && keyOf(settings) !== keyOf(this.settings);
    this.settings = settings;
    this.settingsKnown();
    if (changed) await this.unload();
  }

  /**
   * The model, loaded if it is not; undefined when that failed, see {@link state}. Waits for the first
   * settings. Never rejects.
   */
  async ready(): Promise<LoadedModel | undefined> {
    await this.configured;
    if (this.ended) return undefined;
    if (this.current.kind === "ready") return this.current.model;
    if (this.current.kind === "failed") return undefined;
    this.opening ??= this.load(this.settings!, this.generation);
    return this.opening;
  }

  /** A generation ended well, or with an error: several errors in a row mean that the engine is broken. */
  noteGeneration(error?: unknown): void {
    if (error === undefined) {
      this.failures = 0;
      return;
    }
    this.failures += 1;
    if (this.failures >= maxFailures) {
      const message = `The engine failed ${this.failures} times in a row: ${messageOf(error)} Restart it.`;
      void this.unload({ kind: "failed", message, action: "restartEngine" });
    }
  }

  /** Frees the model and forgets a failure. Whatever needs the model next loads it again. */
  async unload(next: ModelState = { kind: "idle" }): Promise<void> {
    const old = this.current;
    this.generation += 1;
    this.opening = undefined;
    this.failures = 0;
    this.become(next);
    if (old.kind === "ready") await this.close(old.model);
  }

  /** Frees the model for good: nothing is loaded any more. */
  async end(): Promise<void> {
    this.ended = true;
    await this.unload();
  }

  private async load(settings: LoadSettings, generation: number): Promise<LoadedModel | undefined> {
    this.become({ kind: "loading", progress: 0 });
    try {
      const model = await this.open(settings, (progress) => {
        if (generation === this.generation) this.become({ kind: "loading", progress });
      });
      if (generation !== this.generation) {
        await this.close(model);
        return this.ready();
      }
      this.report(model);
      this.become({ kind: "ready", model });
      return model;
    } catch (error) {
      if (generation !== this.generation) return this.ready();
      this.log.error(`The model could not be loaded: ${messageOf(error)}`);
      this.become({ kind: "failed", message: messageOf(error), action: actionFor(error) });
      return undefined;
    }
  }

  private report(model: LoadedModel): void {
    const { loadMs, fromPackedFile, packedFileNote, backendNote } = model.info;
    const source = fromPackedFile ? "packed weights" : "checkpoint";
    this.log.info(`${model.card.name} is ready: ${backendInWords(model.info)}, from its ${source} in ${loadMs.toFixed(0)} ms.`);
    if (backendNote !== undefined) this.log.info(`The model is ${backendNote}.`);
    if (packedFileNote !== undefined) this.log.warn(`Packed weights were not kept, so loading takes as long next time: ${packedFileNote}`);
  }

  private async close(model: LoadedModel): Promise<void> {
    try {
      await Promise.all(this.consumers.map((release) => release(model)));
      await model.close();
    } catch (error) {
      this.log.warn(`While unloading the model: ${messageOf(error)}`);
    }
  }

  private become(state: ModelState): void {
    this.current = state;
    this.onChange(state);
  }
}

function keyOf({ model, engine }: LoadSettings): string {
  return JSON.stringify([model.path, engine.device, engine.dtype, engine.threads]);
}

function actionFor(error: unknown): StatusAction {
  if (error instanceof DeviceError) return "openSettings";
  switch (errorCodeOf(error)) {
    case "badFile":
    case "badConfig":
    case "missingTensor":
    case "badShape":
    case "io":
      return "selectModel";
    case "notEnoughMemory":
      return "openSettings";
    case "unsupported":
      return "reinstall";
    default:
      return "showLog";
  }
}
