import type { EngineSettings, ModelSettings } from "../../protocol/settings.js";
import type { LoadedModel, TextSession } from "../engine/engine.js";
import { budgetFor, PromptBuilder, type PromptBudget } from "../prompt/build.js";
import { promptFormats } from "../prompt/registry.js";

/** Most tokens in one suggestion, for one line and for a block. */
export const maxLineTokens = 64;
export const maxBlockTokens = 256;

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
  readonly budget: PromptBudget;
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
    // The same session may be used in plain mode, where a position holds one token.
    budget: budgetFor(card.contextPairs, maxBlockTokens),
    stopIds: [...new Set([...card.stopTokenIds, ...stopIds])].filter((id) => id !== card.padTokenId),
  };
}
