import { Command, CommanderError } from "commander";
import { benchCommand } from "./bench.js";
import { completeCommand } from "./complete.js";
import { generateCommand } from "./generate.js";
import { infoCommand } from "./info.js";
import { inspectCommand } from "./inspect.js";
import { modelsCommand } from "./models.js";
import { packCommand } from "./pack.js";
import { pullCommand } from "./pull.js";
import { packageVersion } from "../packageRoot.js";
import { reportError, UsageError } from "./report.js";

/** Every command of `pipo`, in the order of the help text. */
const commands: readonly (() => Command)[] = [
  completeCommand,
  generateCommand,
  inspectCommand,
  modelsCommand,
  pullCommand,
  packCommand,
  benchCommand,
  infoCommand,
];

export const exitCodes = { ok: 0, failed: 1, usage: 2 } as const;

/** Runs one command line and answers the exit code. Errors become one line on stderr. */
export async function runCli(argv: readonly string[]): Promise<number> {
  endQuietlyWhenReaderLeaves();
  try {
    await createProgram().parseAsync([...argv]);
    return exitCodes.ok;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage;
    reportError(error, argv.includes("--verbose"));
    return error instanceof UsageError ? exitCodes.usage : exitCodes.failed;
  }
}

function createProgram(): Command {
  const program = new Command("pipo")
    .description("Local code completion with a native engine: everything that the extension does, from a terminal.")
    .version(packageVersion())
    .showHelpAfterError("(pipo --help lists the commands; pipo <command> --help its options)");
  for (const makeCommand of commands) {
    program.addCommand(
      makeCommand().option("--verbose", "print the stack of an error").showHelpAfterError("(--help lists the options)"),
    );
  }
  for (const command of [program, ...program.commands]) command.exitOverride();
  return program;
}

/** `pipo … | head` is no error. */
function endQuietlyWhenReaderLeaves(): void {
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
    process.exit(exitCodes.ok);
  });
}
