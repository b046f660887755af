import { vi } from "vitest";
import { runCli } from "../../server/src/cli/program.js";

export interface CommandResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `pipo` with these arguments in this process and collects what it prints. */
export async function pipo(...args: string[]): Promise<CommandResult> {
  let [stdout, stderr] = ["", ""];
  const out = vi.spyOn(process.stdout, "write").mockImplementation((text) => ((stdout += String(text)), true));
  const err = vi.spyOn(process.stderr, "write").mockImplementation((text) => ((stderr += String(text)), true));
  try {
    return { exitCode: await runCli(["node", "pipo", ...args]), stdout, stderr };
  } finally {
    out.mockRestore();
    err.mockRestore();
    process.stdout.removeAllListeners("error");
  }
}
