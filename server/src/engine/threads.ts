import { availableParallelism } from "node:os";

/**
 * Threads that compute where the user names none: all cores but one, which stays for the editor. On two cores both: with
 * one of them every suggestion takes twice as long, and the editor needs little while somebody waits for one.
 */
export function defaultThreads(cores: number = availableParallelism()): number {
  return cores <= 2 ? Math.max(1, cores) : cores - 1;
}
