import type { CancellationToken } from "vscode-languageserver/node";
import type { ModelList, PullModelParams, PullModelResult, PullProgress } from "../../protocol/messages.js";
import type { Logger } from "../log.js";
import { catalogueEntry } from "../models/catalogue.js";
import type { DownloadProgress } from "../models/download/download.js";
import type { Machine } from "../models/fit.js";
import { listModels } from "../models/modelList.js";
import { plainText } from "../plainText.js";
import { abortSignalOf } from "./cancellation.js";

/** What the requests about models need from their surroundings. */
export interface ModelsHost {
  readonly modelsDirectory: string;
  describeMachine(): Promise<Machine>;
  sendProgress(progress: PullProgress): void;
  readonly log: Logger;
}

/** Nobody reads faster. */
const progressEveryMs = 150;

/** Answers `pipo/models`. */
export async function handleModels({ modelsDirectory, describeMachine }: ModelsHost): Promise<ModelList> {
  return listModels(await describeMachine(), { folder: modelsDirectory });
}

/** Answers `pipo/pullModel`; what can go wrong with a download is an answer, too. */
export async function handlePullModel(
  host: ModelsHost,
  { name, evenIfTooLarge }: PullModelParams,
  token: CancellationToken,
): Promise<PullModelResult> {
  const entry = catalogueEntry(name);
  if (entry === undefined) return { kind: "failed", message: `The catalogue has no model named "${plainText(name, 60)}".` };
  // Loaded when it is first needed: most windows never fetch anything.
  const { downloadModel } = await import("../models/download/download.js");
  try {
    const path = await downloadModel(entry, {
      folder: host.modelsDirectory,
      signal: abortSignalOf(token),
      evenIfTooLarge,
      onSourceFailed: (words) => host.log.info(words),
      onProgress: throttled((progress) => host.sendProgress({ name, ...progress })),
    });
    host.log.info(`${entry.title} is at ${path}.`);
    return { kind: "ready", path };
  } catch (error) {
    if ((error as { kind?: unknown }).kind === "cancelled") return { kind: "cancelled" };
    const message = error instanceof Error ? error.message : String(error);
    host.log.warn(message);
    return { kind: "failed", message };
  }
}

/** Passes on the first of every stage and then as many as somebody can read. */
function throttled(send: (progress: DownloadProgress) => void): (progress: DownloadProgress) => void {
  let stage: string | undefined;
  let sentAt = 0;
  return (progress) => {
    const now = performance.now();
    if (progress.stage === stage && now - sentAt < progressEveryMs) return;
    stage = progress.stage;
    sentAt = now;
    send(progress);
  };
}
