import { Presets, SingleBar } from "cli-progress";
import type { LoadProgress, LoadStage } from "../engine/addon.js";

/** Work shorter than this shows nothing. */
const quietMs = 700;

const stageTexts: Record<LoadStage, string> = {
  checking: "checking the model",
  packing: "packing the weights",
  mapping: "mapping the weights",
  uploading: "uploading the weights",
  ready: "ready",
};

/** Runs work with a progress bar on stderr, when that is a terminal and the work takes long enough to watch. */
export async function withProgressBar<T>(
  work: (onProgress: (progress: LoadProgress) => void) => Promise<T>,
): Promise<T> {
  if (!process.stderr.isTTY) return work(() => undefined);
  const started = performance.now();
  const bar = new SingleBar(
    { format: "{bar} {percentage}% {stage}", clearOnComplete: true, hideCursor: true, stream: process.stderr },
    Presets.shades_classic,
  );
  try {
    return await work(({ stage, fraction }) => {
      if (performance.now() - started < quietMs) return;
      const payload = { stage: stageTexts[stage] };
      if (bar.isActive) bar.update(fraction, payload);
      else bar.start(1, fraction, payload);
    });
  } finally {
    bar.stop();
  }
}
