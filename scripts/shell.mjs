// Small helpers of the development scripts. Only Node's own modules: these run before anything is installed.
import { spawn, spawnSync } from "node:child_process";
import { availableParallelism } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

/** Folder that holds package.json. */
export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..");

/** Path inside the repository. */
export const inRoot = (/** @type {string[]} */ ...parts) => path.join(root, ...parts);

/** Compilers of this project need about 1 GB each, and the machine should stay usable. */
export const buildJobs = Number(process.env.CMAKE_BUILD_PARALLEL_LEVEL) || Math.max(2, availableParallelism() >> 1);

/** An error whose message is meant for the person at the terminal; no stack is printed for it. */
export class Trouble extends Error {}

/** Progress, beside the output that a program may be read for.
 * @param {string} text
 */
export function say(text) {
  console.error(`\x1b[36m•\x1b[0m ${text}`);
}

/**
 * Runs a program with its output on the terminal.
 * @param {string} program
 * @param {readonly string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv, quiet?: boolean, onOutput?: (text: string) => void, returnOnFailure?: boolean, timeoutMs?: number }} [options]
 *   `quiet` keeps the output back and shows it only on failure; `onOutput` sees all of it;
 *   `returnOnFailure` leaves judging the output to the caller.
 * @returns {Promise<string>} everything that was printed, when it was kept back or watched
 */
export function run(program, args, { cwd = root, env = process.env, quiet = false, onOutput, returnOnFailure = false, timeoutMs } = {}) {
  const piped = quiet || onOutput !== undefined;
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd,
      env,
      stdio: piped ? ["ignore", "pipe", "pipe"] : "inherit",
      ...(timeoutMs === undefined ? {} : { timeout: timeoutMs, killSignal: /** @type {const} */ ("SIGKILL") }),
    });
    let output = "";
    const take = (/** @type {Buffer} */ chunk) => {
      output += chunk.toString();
      onOutput?.(chunk.toString());
      if (!quiet) process.stdout.write(chunk);
    };
    child.stdout?.on("data", take);
    child.stderr?.on("data", take);
    child.once("error", (error) => reject(new Trouble(`cannot run ${program}: ${error.message}`)));
    child.once("close", (code, signal) => {
      if (code === 0 || (returnOnFailure && code !== null)) return resolve(output);
      if (quiet) process.stderr.write(output.slice(-8000));
      reject(new Trouble(`${path.basename(program)} ${args[0] ?? ""} ended with ${signal ?? `exit code ${code}`}`));
    });
  });
}

/**
 * Output of a short command, or undefined when it fails or is not there.
 * @param {string} program
 * @param {readonly string[]} args
 * @param {import("node:child_process").SpawnSyncOptions} [options]
 */
export function ask(program, args, options = {}) {
  const result = spawnSync(program, args, { cwd: root, encoding: "utf8", timeout: 60_000, ...options });
  return result.status === 0 ? String(result.stdout).trim() : undefined;
}

/** @param {string} program */
export const hasProgram = (program) => ask("sh", ["-c", `command -v ${program}`]) !== undefined;

/** Runs the entry function of a script and turns {@link Trouble} into one readable line and exit code 1.
 * @param {() => Promise<number | void>} entry
 */
export function main(entry) {
  entry().then(
    (code) => {
      if (typeof code === "number") process.exitCode = code;
    },
    (error) => {
      console.error(`\n\x1b[31m✗\x1b[0m ${error instanceof Trouble ? error.message : (error?.stack ?? error)}`);
      process.exitCode = 1;
    },
  );
}

/** True when the module was started as a program, false when it was imported.
 * @param {string} moduleUrl
 */
export const isEntryPoint = (moduleUrl) =>
  process.argv[1] !== undefined && path.resolve(process.argv[1]) === fileURLToPath(moduleUrl);
