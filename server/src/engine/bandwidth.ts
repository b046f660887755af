import { loadAddon } from "./load.js";

/** More than any cache holds, and read within milliseconds. */
const measuredBytes = 128 * 2 ** 20;
const passes = 2;

const measured = new Map<number, Promise<number>>();

/** Bytes per second that so many threads read from memory, measured once per number of threads and process. */
export function measureReadBandwidth(threads: number): Promise<number> {
  let bandwidth = measured.get(threads);
  if (bandwidth === undefined) {
    bandwidth = loadAddon().measureReadBandwidth(measuredBytes, threads, passes);
    measured.set(threads, bandwidth);
  }
  return bandwidth;
}
