import type { CompletionSettings } from "../../protocol/settings.js";
import type { DecodeMode } from "../engine/addon.js";
import type { LoadedModel } from "../engine/engine.js";
import { budgetFor, type PromptBudget } from "../prompt/build.js";
import type { FimFamily } from "../prompt/fimFamilies.js";
import type { ModelSpeed } from "./modelSpeed.js";

/** Most tokens in one suggestion, for one line and for a block. */
export const maxLineTokens = 64;
export const maxBlockTokens = 160;

/** Time that a prompt may take before its first token. */
const promptMs = 300;

/** How sure a model must be of which nothing was measured. */
const usualMinConfidence = 0.5;
/**
 * How sure models must be whose files say nothing, by name. Qwen2.5-Coder 0.5B at 80 random cursors in unseen packages: from
 * 0.5 on 57 lines are shown and 35 % of them exactly right, from 0.7 on 40 and 50 %, from 0.8 on 23 and 78 %.
 */
const measuredMinConfidence: readonly (readonly [models: RegExp, minConfidence: number])[] = [[/qwen2\.?5[-_ ]?coder/i, 0.7]];

/** A line has about so many steps; a slow model gets the time for them, a fast one the least. */
const stepsOfLine = 24;
const leastTimeLimitMs = 800;
const mostTimeLimitMs = 3_000;

type ModelWithCard = Pick<LoadedModel, "card">;

/** What the settings ask for, otherwise what the model recommends, otherwise what suits it on this machine. */
export function minConfidenceFor({ minConfidence }: CompletionSettings, { card }: ModelWithCard): number {
  const measured = measuredMinConfidence.find(([models]) => models.test(card.name))?.[1];
  return minConfidence ?? card.minConfidence ?? measured ?? usualMinConfidence;
}

export function timeLimitFor({ timeLimitMs }: CompletionSettings, { stepMs }: Pick<ModelSpeed, "stepMs">): number {
  return timeLimitMs ?? Math.round(Math.min(mostTimeLimitMs, Math.max(leastTimeLimitMs, stepsOfLine * stepMs)));
}

/**
 * Tokens that a prompt may have, so that a whole block still fits the session, and that may be new in it, so that the
 * first answer comes soon. A position holds two tokens of a prompt in pair mode, and of what is generated at least one.
 */
export function promptBudget(
  { card }: ModelWithCard,
  { suffixTokens }: Pick<FimFamily, "suffixTokens">,
  { prefillPositions }: Pick<ModelSpeed, "prefillPositions">,
  mode: DecodeMode,
): PromptBudget {
  const tokensPerPosition = mode === "pair" ? 2 : 1;
  const capacity = tokensPerPosition * (card.contextPairs - maxBlockTokens);
  const newTokens = Math.floor(((tokensPerPosition * promptMs) / 1000) * prefillPositions);
  return budgetFor(capacity, card.maxSuffixTokens ?? suffixTokens, newTokens);
}
