import type { CompletionTrace, GenerationTrace, Stage, TraceOutcome } from "../../protocol/messages.js";
import type { CompletionRequest, CompletionResult } from "./result.js";

/** Records how long each stage of one request took, and what came out. Passed along with the request. */
export class TraceRecorder {
  private readonly startedAt = performance.now();
  private readonly stages: { stage: Stage; ms: number }[] = [];
  private generation: GenerationTrace | undefined;

  constructor(
    readonly id: string,
    private readonly request: CompletionRequest,
  ) {}

  stage<T>(stage: Stage, work: () => T): T {
    const startedAt = performance.now();
    try {
      return work();
    } finally {
      this.stages.push({ stage, ms: since(startedAt) });
    }
  }

  async stageAsync<T>(stage: Stage, work: () => Promise<T>): Promise<T> {
    const startedAt = performance.now();
    try {
      return await work();
    } finally {
      this.stages.push({ stage, ms: since(startedAt) });
    }
  }

  generated(generation: GenerationTrace): void {
    this.generation = generation;
  }

  finish(result: CompletionResult): CompletionTrace {
    const { document, position, invoked } = this.request;
    return {
      id: this.id,
      uri: document.uri,
      languageId: document.languageId,
      ...position,
      invoked,
      outcome: outcomeOf(result),
      stages: this.stages,
      totalMs: since(this.startedAt),
      ...(this.generation && { generation: this.generation }),
    };
  }
}

/** One line for the log. */
export function describeTrace(trace: CompletionTrace): string {
  const { outcome, generation } = trace;
  const what =
    outcome.kind === "suggestion"
      ? `${outcome.text.length} characters from ${outcome.source}`
      : [outcome.reason, outcome.detail].filter(Boolean).join(": ");
  const stages = trace.stages.map(({ stage, ms }) => `${stage} ${ms.toFixed(1)}`).join(", ");
  const numbers = generation
    ? `; ${generation.tokens} tokens in ${generation.steps} steps (${generation.accepted} accepted, ${generation.gated} gated, ${generation.draftsSkipped} drafts skipped), ` +
      `TTFT ${generation.ttftMs.toFixed(1)}, TPOT ${generation.tpotMs.toFixed(1)}, ` +
      `${generation.extendPositions} of ${generation.cachedPositions + generation.extendPositions} positions computed, ` +
      `confidence ${generation.confidence?.toFixed(2) ?? "unknown"}`
    : "";
  return `${trace.id} ${trace.languageId} ${trace.line}:${trace.character}: ${what}; ${trace.totalMs.toFixed(1)} ms (${stages})${numbers}`;
}

function outcomeOf(result: CompletionResult): TraceOutcome {
  if (result.kind === "empty") return result;
  const { source, text } = result.suggestion;
  return { kind: "suggestion", source, text };
}

function since(startedAt: number): number {
  return performance.now() - startedAt;
}
