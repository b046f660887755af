import {
  type CompletionStatistics,
  type CompletionTrace,
  type EmptyReason,
  emptyReasonText,
  type ResultSource,
} from "../../protocol/messages.js";
import { percentile } from "../../protocol/percentile.js";

/** Answers of the model whose latencies are kept. */
const maxLatencies = 1_000;
/** Suggestions that may still be reported as accepted. */
const maxOpenSuggestions = 200;

/** Counts of one run of the server. Nothing of them leaves the process but by request. */
export class Statistics {
  private requests = 0;
  private accepted = 0;
  private acceptedCharacters = 0;
  private tokens = 0;
  private steps = 0;
  private readonly bySource: Record<ResultSource, number> = { model: 0, completionCache: 0, typedAsSuggested: 0 };
  private readonly byReason = zeroPerReason();
  private readonly latencies: number[] = [];
  /** Length of each suggestion that was answered and not yet accepted, oldest first. */
  private readonly open = new Map<string, number>();

  note(trace: CompletionTrace): void {
    this.requests += 1;
    this.tokens += trace.generation?.tokens ?? 0;
    this.steps += trace.generation?.steps ?? 0;
    if (trace.outcome.kind === "empty") {
      this.byReason[trace.outcome.reason] += 1;
      return;
    }
    this.bySource[trace.outcome.source] += 1;
    pushLimited(this.open, trace.id, trace.outcome.text.length);
    if (trace.outcome.source !== "model") return;
    this.latencies.push(trace.totalMs);
    if (this.latencies.length > maxLatencies) this.latencies.shift();
  }

  /** False for an id that is unknown or was reported before. */
  noteAccepted(id: string): boolean {
    const characters = this.open.get(id);
    if (characters === undefined) return false;
    this.open.delete(id);
    this.accepted += 1;
    this.acceptedCharacters += characters;
    return true;
  }

  snapshot(): CompletionStatistics {
    const [p50, p95] = [percentile(this.latencies, 0.5), percentile(this.latencies, 0.95)];
    return {
      requests: this.requests,
      suggestions: Object.values(this.bySource).reduce((sum, count) => sum + count, 0),
      accepted: this.accepted,
      acceptedCharacters: this.acceptedCharacters,
      bySource: { ...this.bySource },
      byReason: { ...this.byReason },
      latencyMs: p50 === undefined || p95 === undefined ? null : { p50, p95, count: this.latencies.length },
      tokens: this.tokens,
      steps: this.steps,
    };
  }
}

function zeroPerReason(): Record<EmptyReason, number> {
  const reasons = Object.keys(emptyReasonText) as EmptyReason[];
  return Object.fromEntries(reasons.map((reason) => [reason, 0])) as Record<EmptyReason, number>;
}

function pushLimited(map: Map<string, number>, key: string, value: number): void {
  map.set(key, value);
  const oldest = map.size > maxOpenSuggestions ? map.keys().next().value : undefined;
  if (oldest !== undefined) map.delete(oldest);
}
