import type { EngineSettings, ModelSettings } from "../../protocol/settings.js";
import type { DecodeMode } from "../engine/addon.js";
import type { LoadedModel, TextSession } from "../engine/engine.js";
import { budgetFor, PromptBuilder, type PromptBudget } from "../prompt/build.js";
import { promptFormats } from "../prompt/registry.js";

/** Most tokens in one suggestion, for one line and for a block. */
export const maxLineTokens = 64;
export const maxBlockTokens = 160;

/** Settings that decide which model is loaded and how. */
export interface LoadSettings {
  readonly model: ModelSettings;
  readonly engine: EngineSettings;
}

/** A loaded model with what completion keeps beside it: one session, so that prompts extend, and the prompt builder. */
export interface CompletionModel {
  readonly model: LoadedModel;
  readonly session: TextSession;
  readonly prompts: PromptBuilder;
  readonly stopIds: readonly number[];
}

/** Throws when the model's tokenizer does not know the prompt format of its card. Closes nothing. */
export function prepareForCompletion(model: LoadedModel): CompletionModel {
  const { card, tokenizer } = model;
  const format = promptFormats[card.fimFormat];
  const stopIds = format.stopTokens.map((token) => tokenizer.idOf(token)).filter((id) => id !== undefined);
  return {
    model,
    prompts: new PromptBuilder(tokenizer, format),
    session: model.createSession(),
    stopIds: [...new Set([...card.stopTokenIds, ...stopIds])].filter((id) => id !== card.padTokenId),
  };
}

/** What the settings ask for where the model has it; pairs where it has them otherwise. */
export function decodeMode({ model }: CompletionModel, wanted: EngineSettings["mode"]): DecodeMode {
  const { modes } = model.info;
  if (wanted !== "auto" && modes.includes(wanted)) return wanted;
  return modes.includes("pair") ? "pair" : "plain";
}

/**
 * Tokens that a prompt may have, so that a whole block still fits the session. A position holds two tokens of a
 * prompt in pair mode, and of what is generated at least one.
 */
export function promptBudget({ model }: CompletionModel, mode: DecodeMode): PromptBudget {
  const { contextPairs, maxSuffixTokens } = model.card;
  const positions = contextPairs - maxBlockTokens;
  return budgetFor(mode === "pair" ? 2 * positions : positions, maxSuffixTokens);
}
