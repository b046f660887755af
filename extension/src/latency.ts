import { percentile } from "../../server/protocol/percentile";

/** Newest keystroke-to-ghost latencies, in milliseconds. */
export class LatencyWindow {
  private readonly values: number[] = [];

  constructor(private readonly capacity = 200) {}

  add(ms: number): void {
    this.values.push(ms);
    if (this.values.length > this.capacity) this.values.shift();
  }

  get count(): number {
    return this.values.length;
  }

  get last(): number | undefined {
    return this.values.at(-1);
  }

  /** Nearest rank; undefined without values. `share` lies in [0, 1]. */
  percentile(share: number): number | undefined {
    return percentile(this.values, share);
  }
}
