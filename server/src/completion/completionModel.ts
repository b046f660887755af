import type { EngineSettings } from "../../protocol/settings.js";
import type { DecodeMode } from "../engine/addon.js";
import type { LoadedModel, TextSession } from "../engine/engine.js";
import { PromptBuilder } from "../prompt/build.js";
import { chooseFim } from "../prompt/chooseFim.js";
import type { FimFamily } from "../prompt/fimFamilies.js";
import { type MeasureReadBandwidth, ModelSpeed } from "./modelSpeed.js";

/** A loaded model with what completion keeps beside it: one session, so that prompts extend, and the prompt builder. */
export interface CompletionModel {
  readonly model: LoadedModel;
  readonly family: FimFamily;
  readonly session: TextSession;
  readonly prompts: PromptBuilder;
  readonly speed: ModelSpeed;
  readonly stopIds: readonly number[];
}

/** Weights of fewer bytes are read within a moment on any machine; measuring would take longer. */
const measuredFromBytes = 100e6;

/** Why a loaded model is of no use for completion, in words. */
export interface Unusable {
  readonly reason: string;
}

interface Kept {
  readonly model: LoadedModel;
  readonly wanted: string;
  readonly use: Promise<CompletionModel | Unusable>;
}

/** What completion keeps of the model that is loaded; let go of when the model is unloaded or asked in another format. */
export class CompletionModels {
  private kept: Kept | undefined;

  constructor(private readonly measure: MeasureReadBandwidth | undefined) {}

  /** `wanted` is the format of the settings. Rejects where the engine cannot give a session. */
  async use(model: LoadedModel, wanted: string): Promise<CompletionModel | Unusable> {
    if (this.kept?.model !== model || this.kept.wanted !== wanted) {
      void this.release();
      this.kept = { model, wanted, use: prepare(model, wanted, this.measure) };
    }
    const kept = this.kept;
    try {
      return await kept.use;
    } catch (error) {
      if (this.kept === kept) this.kept = undefined;
      throw error;
    }
  }

  /** A document was closed. */
  forget(uri: string): void {
    void this.kept?.use.then((use) => "prompts" in use && use.prompts.forget(uri), () => undefined);
  }

  /** Closes the session; of `model` only where one is named. */
  async release(model = this.kept?.model): Promise<void> {
    const kept = this.kept;
    if (kept === undefined || kept.model !== model) return;
    this.kept = undefined;
    const use = await kept.use.catch(() => undefined);
    if (use !== undefined && "session" in use) use.session.close();
  }
}

async function prepare(
  model: LoadedModel,
  wanted: string,
  measure: MeasureReadBandwidth | undefined,
): Promise<CompletionModel | Unusable> {
  const { card, tokenizer, info } = model;
  const family = chooseFim(card, tokenizer, wanted);
  if (typeof family === "string") return { reason: family };
  const speed = new ModelSpeed(info);
  if (info.weightBytes >= measuredFromBytes && info.device === undefined) {
    speed.setReadBandwidth((await measure?.(info.threads).catch(() => 0)) ?? 0);
  }
  const stopIds = family.stopTokens.map((token) => tokenizer.idOf(token)).filter((id) => id !== undefined);
  return {
    model,
    family,
    session: model.createSession(),
    prompts: new PromptBuilder(tokenizer, family),
    speed,
    stopIds: [...new Set([...card.stopTokenIds, ...stopIds])],
  };
}

/** What the settings ask for where the model has it; pairs where it has them otherwise. */
export function decodeMode({ info }: LoadedModel, wanted: EngineSettings["mode"]): DecodeMode {
  if (wanted !== "auto" && info.modes.includes(wanted)) return wanted;
  return info.modes.includes("pair") ? "pair" : "plain";
}

/** A rejected draft leaves PAD, so in pair mode PAD ends nothing. */
export function stopIdsFor({ model, stopIds }: CompletionModel, mode: DecodeMode): readonly number[] {
  return mode === "pair" ? stopIds.filter((id) => id !== model.card.padTokenId) : stopIds;
}
