import type { EmptyReason } from "../../protocol/messages.js";

/** Why a request was withdrawn; the reason of its abort signal. */
export type Withdrawal = Extract<EmptyReason, "superseded" | "cancelled">;

/**
 * The newest request of a document wins: it aborts the former one. Work on the engine's one session is done
 * in turns, in the order of arrival; a request that was withdrawn while it waited never takes its turn.
 */
export class RequestScheduler {
  private readonly newest = new Map<string, AbortController>();
  private lastTurn: Promise<unknown> = Promise.resolve();

  /**
   * Runs `answer` with a signal that aborts, with a {@link Withdrawal} as its reason, when a newer request
   * for the same document arrives, its text changes or the editor withdraws this one.
   */
  async admit<T>(uri: string, editorSignal: AbortSignal, answer: (signal: AbortSignal) => Promise<T>): Promise<T> {
    this.newest.get(uri)?.abort("superseded" satisfies Withdrawal);
    const controller = new AbortController();
    const withdraw = (): void => controller.abort(withdrawalOf(editorSignal));
    this.newest.set(uri, controller);
    if (editorSignal.aborted) withdraw();
    editorSignal.addEventListener("abort", withdraw, { once: true });
    try {
      return await answer(controller.signal);
    } finally {
      editorSignal.removeEventListener("abort", withdraw);
      if (this.newest.get(uri) === controller) this.newest.delete(uri);
    }
  }

  /** Waits for its turn, then runs `work`; undefined when the signal aborted before. */
  async inTurn<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T | undefined> {
    const turn = this.lastTurn.then(() => (signal.aborted ? undefined : work()));
    this.lastTurn = turn.catch(() => undefined);
    return turn;
  }

  /** Withdraws everything, for shutdown. */
  withdrawAll(): void {
    for (const controller of this.newest.values()) controller.abort("cancelled" satisfies Withdrawal);
  }
}

export function withdrawalOf(signal: AbortSignal): Withdrawal {
  return signal.reason === "superseded" ? "superseded" : "cancelled";
}
