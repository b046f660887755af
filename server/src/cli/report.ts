/** The command line was not understood; exit code 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** One line that says what to do; with `verbose` the stack and its causes too. */
export function reportError(error: unknown, verbose: boolean): void {
  process.stderr.write(`pipo: ${error instanceof Error ? error.message : String(error)}\n`);
  if (!verbose) return;
  for (let cause = error; cause instanceof Error; cause = cause.cause) process.stderr.write(`${cause.stack}\n`);
}

export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

export function printLine(line = ""): void {
  process.stdout.write(`${line}\n`);
}

/** A remark beside the result, kept out of what a script reads. */
export function printNote(line: string): void {
  process.stderr.write(`${line}\n`);
}
