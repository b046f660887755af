import type { EngineInfo, GenerateStats } from "../engine/addon.js";

/** Gives the bytes per second that so many threads read from memory. */
export type MeasureReadBandwidth = (threads: number) => Promise<number>;

/** Bytes per second that are assumed before anything was measured: an old laptop's memory, and a GPU's. */
const cautiousBandwidth = 10e9;
const deviceBandwidth = 500e9;
/** Positions of a prompt that are computed in the time of one step, at least: the weights are read once for many of them. */
const positionsPerStep = 10;
/** Prompts with fewer new positions say more about the start than about the rate. */
const tellingPositions = 32;
/** Weight of a new measurement: noise of other work fades, a busy machine is noticed. */
const newShare = 0.3;

/** How fast a model is on this machine: estimated from the bytes that a step reads, then learned from what was generated. */
export class ModelSpeed {
  private bandwidth: number;
  private measuredStepMs: number | undefined;
  private measuredPositions: number | undefined;

  constructor(private readonly info: Pick<EngineInfo, "bytesPerStep" | "device">) {
    this.bandwidth = info.device === undefined ? cautiousBandwidth : deviceBandwidth;
  }

  /** Takes what was measured of the processor's memory; a device has its own. */
  setReadBandwidth(bytesPerSecond: number): void {
    if (this.info.device === undefined && bytesPerSecond > 0) this.bandwidth = bytesPerSecond;
  }

  /** Milliseconds of one decode step. */
  get stepMs(): number {
    const { backbone, head } = this.info.bytesPerStep;
    return this.measuredStepMs ?? (1000 * (backbone + head)) / this.bandwidth;
  }

  /** Positions of a prompt that are computed in a second. */
  get prefillPositions(): number {
    return this.measuredPositions ?? (1000 * positionsPerStep) / this.stepMs;
  }

  /** Learns from one generation. */
  note({ extendPositions, prefillMs, steps, ttftMs, totalMs }: GenerateStats): void {
    if (extendPositions >= tellingPositions && prefillMs > 0) {
      this.measuredPositions = blend(this.measuredPositions, (1000 * extendPositions) / prefillMs);
    }
    if (steps > 1 && totalMs > ttftMs) this.measuredStepMs = blend(this.measuredStepMs, (totalMs - ttftMs) / (steps - 1));
  }
}

function blend(old: number | undefined, value: number): number {
  return old === undefined ? value : old + newShare * (value - old);
}
