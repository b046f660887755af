import type { EngineSession } from "../../engine/addon.js";
import { greedy } from "../../engine/engine.js";

/** How one side of a comparison is timed, whatever model it runs. */

/** Prompt before decoded tokens: short, so that the cache costs nothing. */
export const decodePromptTokens = 8;

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

/** Ids without meaning, below `ids`. */
export function promptOf(tokens: number, ids = 200_000): Int32Array {
  return Int32Array.from({ length: tokens }, (_, index) => 1000 + ((index * 7919) % (ids - 1000)));
}

/** Milliseconds per step; `threshold` only matters in pair mode. */
export async function ourStepMs(
  session: EngineSession,
  mode: "plain" | "pair",
  threshold: number,
  steps: number,
  prompt = promptOf(decodePromptTokens),
): Promise<number> {
  session.reset();
  const result = await session.generate({
    mode,
    promptIds: prompt,
    maxNewTokens: threshold > 0 || mode === "plain" ? steps + 1 : 2 * (steps + 1),
    threshold,
    sampling: greedy,
    stopIds: [],
  });
  const { steps: done, totalMs, ttftMs } = result.stats;
  return (totalMs - ttftMs) / Math.max(1, done - 1);
}

/** Milliseconds to the first token after `prompt`, from an empty timeline. */
export async function ourPrefillMs(session: EngineSession, mode: "plain" | "pair", prompt: Int32Array): Promise<number> {
  session.reset();
  const result = await session.generate({
    mode,
    promptIds: prompt,
    maxNewTokens: 1,
    threshold: 1,
    sampling: greedy,
    stopIds: [],
  });
  return result.stats.ttftMs;
}
