/** Waits before the first, second, … restart of a server that stopped by itself. */
const backOffMs: readonly number[] = [500, 1_000, 2_000, 4_000];

/** A server that ran this long is healthy again: earlier stops are forgotten. */
const healthyAfterMs = 3 * 60_000;

export type RestartDecision =
  | { readonly kind: "restart"; readonly afterMs: number }
  | { readonly kind: "giveUp"; readonly stops: number };

/** Decides whether a server that stopped is started again, and when. Knows nothing of processes or clocks. */
export class RestartPolicy {
  private stops = 0;
  private startedAtMs = 0;

  started(nowMs: number): void {
    this.startedAtMs = nowMs;
  }

  stopped(nowMs: number): RestartDecision {
    if (nowMs - this.startedAtMs >= healthyAfterMs) this.stops = 0;
    const afterMs = backOffMs[this.stops];
    this.stops += 1;
    return afterMs === undefined ? { kind: "giveUp", stops: this.stops } : { kind: "restart", afterMs };
  }

  /** The user asked for a restart: all attempts are available again. */
  reset(): void {
    this.stops = 0;
  }
}
