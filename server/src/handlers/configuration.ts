import type { DeepPartial, PipoSettings } from "../../protocol/settings.js";
import { settingsSection } from "../../protocol/settings.js";
import { mergeSettings, parseSettings } from "../config/config.js";
import { messageOf } from "../files.js";
import type { Logger } from "../log.js";

/** Asks the editor for the section as it holds for one document, or in general. */
export type PullSettings = (uri: string | undefined) => Promise<unknown>;

/** A client that promised to answer and does not costs this much once, and then the defaults hold. */
const pullTimeoutMs = 2_000;

/**
 * Settings per document. Pulled from editors that can be asked and kept until they change; otherwise the
 * defaults, changed by what the editor sent at the start and later.
 */
export class Configuration {
  private readonly perDocument = new Map<string, Promise<PipoSettings>>();
  private pushed: Record<string, unknown> = {};
  private readonly reported = new Set<string>();

  constructor(
    private readonly initial: DeepPartial<PipoSettings> | undefined,
    private readonly pull: PullSettings | undefined,
    private readonly log: Logger,
  ) {}

  /** Settings for a document, or without one the settings that hold in general. Never rejects. */
  settingsFor(uri?: string): Promise<PipoSettings> {
    const key = uri ?? "";
    let settings = this.perDocument.get(key);
    if (settings === undefined) {
      settings = this.read(uri);
      this.perDocument.set(key, settings);
    }
    return settings;
  }

  /** The editor says that settings changed; some send them along. */
  changed(sent: unknown): void {
    this.perDocument.clear();
    if (typeof sent !== "object" || sent === null) return;
    const section = (sent as Record<string, unknown>)[settingsSection] ?? sent;
    this.pushed = mergeSettings(undefined, section);
  }

  forget(uri: string): void {
    this.perDocument.delete(uri);
  }

  private async read(uri: string | undefined): Promise<PipoSettings> {
    const base = mergeSettings(this.initial, this.pushed);
    const { settings, problems } = parseSettings(mergeSettings(base, await this.pulled(uri)));
    for (const problem of problems) {
      if (!this.reported.has(problem)) this.log.warn(problem);
      this.reported.add(problem);
    }
    return settings;
  }

  private async pulled(uri: string | undefined): Promise<unknown> {
    if (this.pull === undefined) return undefined;
    try {
      return await withTimeout(this.pull(uri), pullTimeoutMs);
    } catch (error) {
      this.log.warn(`The editor did not say its settings (${messageOf(error)}); the defaults are used.`);
      return undefined;
    }
  }
}

async function withTimeout<T>(work: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
