import {
  type CompletionTrace,
  emptyReasonText,
  type EmptyReason,
  type ServerState,
  type ServerStatus,
} from "../../protocol/messages.js";
import { backendInWords } from "../engine/engine.js";
import type { ModelState } from "../models/modelManager.js";

/** Reasons that concern a whole document, or the model, rather than one keystroke. */
const lastingReasons: ReadonlySet<EmptyReason> = new Set([
  "disabled",
  "excludedFile",
  "notTextDocument",
  "binaryContent",
  "noFillInMiddle",
]);
/** Reasons that say nothing any more once another model is there. */
const modelReasons: ReadonlySet<EmptyReason | null> = new Set(["engineFailed", "noFillInMiddle"] as const);
/** Shorter work is not shown, or the editor would flicker at every keystroke. */
const busyAfterMs = 150;
/** Reasons of an answer that nobody reads any more. */
const unreadReasons: ReadonlySet<EmptyReason> = new Set(["superseded", "cancelled"]);

const initial: ServerStatus = {
  state: "starting",
  model: null,
  backend: null,
  backendNote: null,
  source: null,
  lastLatencyMs: null,
  reason: null,
  message: null,
  progress: null,
  action: null,
};

/** Brings the state of the model and the newest answer together into what the editor shows. */
export class StatusReporter {
  private model: ModelState = { kind: "idle" };
  private longWork = 0;
  private newest: CompletionTrace | undefined;
  private latest: Pick<ServerStatus, "source" | "lastLatencyMs"> = { source: null, lastLatencyMs: null };
  private sent = "";

  constructor(private readonly publish: (status: ServerStatus) => void) {}

  modelChanged(state: ModelState): void {
    this.model = state;
    // What an older model could not do says nothing about the new one.
    if (state.kind !== "failed" && modelReasons.has(reasonOf(this.newest))) this.newest = undefined;
    this.update();
  }

  async whileGenerating<T>(work: () => Promise<T>): Promise<T> {
    let shown = 0;
    const timer = setTimeout(() => {
      shown = 1;
      this.longWork += shown;
      this.update();
    }, busyAfterMs);
    try {
      return await work();
    } finally {
      clearTimeout(timer);
      this.longWork -= shown;
      this.update();
    }
  }

  answered(trace: CompletionTrace): void {
    if (trace.outcome.kind === "suggestion") {
      this.latest = { source: trace.outcome.source, lastLatencyMs: trace.totalMs };
    } else if (unreadReasons.has(trace.outcome.reason)) {
      return;
    }
    this.newest = trace;
    this.update();
  }

  get status(): ServerStatus {
    const outcome = this.newest?.outcome;
    const reason = reasonOf(this.newest);
    const status: ServerStatus = {
      ...initial,
      ...this.latest,
      state: this.state(reason),
      reason,
      message: outcome?.kind === "empty" ? inWords(outcome.reason, outcome.detail) : null,
    };
    switch (this.model.kind) {
      case "idle":
        return status;
      case "loading":
        return { ...status, progress: this.model.progress };
      case "failed":
        return { ...status, message: this.model.message, action: this.model.action };
      case "ready": {
        const { info, card } = this.model.model;
        return { ...status, model: card.name, backend: backendInWords(info), backendNote: info.backendNote ?? null };
      }
    }
  }

  /** Sends the status if it differs from what was sent last, or in any case when `force` is given. */
  update(force = false): void {
    const status = this.status;
    const text = JSON.stringify(status);
    if (!force && text === this.sent) return;
    this.sent = text;
    this.publish(status);
  }

  private state(reason: EmptyReason | null): ServerState {
    if (this.model.kind === "failed") return "error";
    if (this.model.kind === "loading") return "loading";
    if (this.longWork > 0) return "busy";
    if (reason !== null && lastingReasons.has(reason)) return "disabled";
    return this.model.kind === "ready" ? "ready" : "starting";
  }
}

function reasonOf(trace: CompletionTrace | undefined): EmptyReason | null {
  return trace?.outcome.kind === "empty" ? trace.outcome.reason : null;
}

function inWords(reason: EmptyReason, detail: string | undefined): string {
  return detail === undefined ? emptyReasonText[reason] : `${emptyReasonText[reason]} (${detail})`;
}
