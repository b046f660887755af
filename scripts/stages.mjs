// The stages of npm test and npm run verify. Each runs one kind of test and returns what it counted.
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import path from "node:path";
import { build, showProgress } from "./build.mjs";
import { ensureNvcc, environmentFor, findNvcc, spillingKernels } from "./cuda.mjs";
import { modelsFolder } from "./model.mjs";
import { packageExtension } from "./package.mjs";
import { arePresent, ensure, ensurePythonEnvironment, needs } from "./prerequisites.mjs";
import { ask, buildJobs, inRoot, run, say, Trouble } from "./shell.mjs";

/**
 * @typedef {object} Count
 * @property {number} passed
 * @property {number} failed
 * @property {number} skipped
 * @property {string} [note]  why something was skipped, or how to get it
 */

/** @typedef {() => Promise<Count>} Stage */

const one = { passed: 1, failed: 0, skipped: 0 };

/** @type {Stage} */
export async function types() {
  await run(process.execPath, [inRoot("node_modules/typescript/bin/tsc"), "-b"]);
  return one;
}

/** @param {boolean} mayInstall  the CUDA compiler, where there is none @returns {Promise<Count>} */
export async function bundlesAndEngine(mayInstall) {
  if (mayInstall) await ensureNvcc().catch(() => undefined);  // the stage of the CUDA kernels says what went wrong
  await build();
  return one;
}

/** Unit, addon, server and architecture tests: all that runs in Node alone.
 * @type {Stage}
 */
export const nodeTests = () => vitest("test/vitest.config.mts");

/** The packaged extension in a real VS Code, driven by a real Chromium.
 * @type {Stage}
 */
export async function endToEnd() {
  process.env.PIPO_TEST_VSIX = await packageExtension();
  return vitest("test/e2e/vitest.config.mts");
}

/** Fetched for the tests of real models, smallest first. */
const testedModels = ["smollm2-135m", "qwen2.5-coder-0.5b"];

/**
 * Real model files against transformers and llama.cpp.
 * @param {boolean} mayFetch  the files, where they are not in the models folder
 * @returns {Promise<Count>}
 */
export async function realModels(mayFetch) {
  await build();
  for (const name of mayFetch ? testedModels : []) {
    const pull = [inRoot("dist/cli.js"), "pull", name];
    await run(process.execPath, pull, { quiet: true, timeoutMs: 600_000 }).catch(() => say(`${name} could not be fetched`));
  }
  process.env.PIPO_TEST_MODELS = modelsFolder();
  const count = await vitest("test/models/vitest.config.mts");
  if (count.skipped === 0) return count;
  const note = mayFetch ? "some real models could not be fetched" : "real models not tested where they are not here: npm test -- --all fetches them (590 MB)";
  return { ...count, note };
}

/** @param {string} config @returns {Promise<Count>} */
async function vitest(config) {
  const report = inRoot("build/test-reports", `${config.replaceAll("/", "-")}.json`);
  mkdirSync(path.dirname(report), { recursive: true });
  rmSync(report, { force: true });
  const program = inRoot("node_modules/vitest/vitest.mjs");
  const flags = ["run", "--config", inRoot(config), "--reporter=default", "--reporter=json", `--outputFile.json=${report}`];
  const ended = await run(process.execPath, [program, ...flags]).catch((/** @type {unknown} */ error) => error);
  if (!existsSync(report)) throw new Trouble("vitest ended without a report");
  const { numPassedTests, numFailedTests, numPendingTests, numTodoTests, numTotalTests, testResults } = JSON.parse(readFileSync(report, "utf8"));
  const brokenFiles = testResults.filter((/** @type {any} */ file) => file.status === "failed" && file.assertionResults.length === 0).length;
  const failed = numFailedTests + brokenFiles;
  if (ended instanceof Error && failed === 0) throw new Trouble(`vitest failed outside of the tests: ${ended.message}`);
  if (numTotalTests === 0 && brokenFiles === 0) throw new Trouble(`no tests were found with ${config}`);
  return { passed: numPassedTests, failed, skipped: numPendingTests + numTodoTests };
}

/** Some tests look at the time and run alone. CUDA kernels under emulation take longest and do not, so they run together.
 * @type {Stage}
 */
export async function nativeTests() {
  const folder = "build/native-tests";
  await buildNative({ folder, buildType: "Release", options: ["-DPIPO_CUDA=OFF"] });
  const emulated = "^(cuda|native_cuda)_";
  const alone = await runCtest({ folder, except: emulated });
  const together = await runCtest({ folder, only: emulated, parallel: true });
  return { passed: alone.passed + together.passed, failed: alone.failed + together.failed, skipped: alone.skipped + together.skipped };
}

/** Reads and writes out of bounds, use after free, leaks, undefined behaviour.
 * @type {Stage}
 */
export const addressSanitizer = () =>
  ctest({ folder: "build/native-asan", buildType: "RelWithDebInfo", options: ["-DPIPO_SANITIZE=address,undefined"], parallel: true });

/** Data races.
 * @type {Stage}
 */
export const threadSanitizer = () =>
  ctest({
    folder: "build/native-tsan",
    buildType: "RelWithDebInfo",
    options: ["-DPIPO_SANITIZE=thread"],
    parallel: true,
    // Its shadow memory needs the usual address layout, which newer kernels randomise too far.
    wrapper: ask("setarch", ["-R", "true"]) === undefined ? [] : ["setarch", "-R"],
  });

/** The NEON kernels, compiled for 64-bit ARM and run under emulation.
 * @type {Stage}
 */
export async function armTests() {
  if (process.env.CI === "true") await ensure(needs.arm).catch(() => undefined);
  if (!arePresent(needs.arm)) {
    return { passed: 0, failed: 0, skipped: 1, note: "NEON not tested: needs g++-aarch64-linux-gnu and qemu-user" };
  }
  return ctest({
    folder: "build/native-arm",
    buildType: "Release",
    options: [
      "-DCMAKE_SYSTEM_NAME=Linux",
      "-DCMAKE_SYSTEM_PROCESSOR=aarch64",
      "-DCMAKE_C_COMPILER=aarch64-linux-gnu-gcc",
      "-DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++",
      "-DCMAKE_CROSSCOMPILING_EMULATOR=qemu-aarch64;-L;/usr/aarch64-linux-gnu",
      "-DPIPO_CUDA_EMULATION=OFF",
    ],
    // What the kernels compute; the rest of the engine is the same code as on this machine, and emulation is slow.
    only: "kernels|golden|quantised",
    parallel: true,
  });
}

/** A kernel that keeps values in memory for want of registers waits for them; a few bytes outside of its loop do not matter. */
const spillLimitBytes = 64;

/**
 * The CUDA kernels for every device that the product names: compiled, looked at, and run where there is such a device.
 * @param {boolean} mayInstall  the compiler, where there is none
 * @returns {Promise<Count>}
 */
export async function cudaKernels(mayInstall) {
  const nvcc = mayInstall ? await ensureNvcc() : findNvcc();
  if (nvcc === undefined) {
    const note = "CUDA kernels not compiled: needs nvcc; npm test -- --all installs one (380 MB)";
    return { passed: 0, failed: 0, skipped: 1, note };
  }
  say(`compiling the CUDA kernels with ${nvcc.program}`);
  const folder = "build/cuda";
  const env = environmentFor(inRoot(folder), nvcc);
  const options = ["-DPIPO_CUDA=ON", "-DPIPO_CUDA_REPORT=ON"];
  await buildNative({ folder, buildType: "Release", options, targets: ["pipo_device"], env });
  const report = await run("bash", [inRoot("kernels/cuda/compile_report.sh"), inRoot(folder)], { env, onOutput: () => {} });
  const spilling = spillingKernels(report, spillLimitBytes);
  if (0 < spilling.length) throw new Trouble(`more than ${spillLimitBytes} bytes are spilled in:\n${spilling.join("\n")}`);
  const count = await runCtest({ folder, label: "device" });
  const skipped = count.skipped === 0 ? {} : { note: "compiled; no NVIDIA device here to run the tests on" };
  return { ...count, passed: count.passed + 1, ...skipped };
}

/**
 * @param {{ folder: string, buildType: string, options?: readonly string[], only?: string, parallel?: boolean, wrapper?: readonly string[] }} how
 *   `only` is a pattern of test names; `parallel` is for runs in which no test looks at the time
 * @returns {Promise<Count>}
 */
async function ctest({ folder, buildType, options = [], only, parallel = false, wrapper = [] }) {
  await buildNative({ folder, buildType, options: ["-DPIPO_CUDA=OFF", ...options] });
  return runCtest({ folder, only, parallel, wrapper });
}

/**
 * @param {{ folder: string, buildType: string, options: readonly string[], targets?: readonly string[], env?: NodeJS.ProcessEnv }} how
 *   without `targets` everything is built
 */
async function buildNative({ folder, buildType, options, targets = [], env = process.env }) {
  await ensure(needs.nativeBuild);
  const place = inRoot(folder);
  const generator = ask("ninja", ["--version"]) === undefined ? [] : ["-G", "Ninja"];
  const configure = ["-S", inRoot(), "-B", place, `-DCMAKE_BUILD_TYPE=${buildType}`, "-DPIPO_BUILD_TESTS=ON", "-DPIPO_BUILD_ADDON=OFF"];
  await run("cmake", [...configure, ...(existsSync(path.join(place, "CMakeCache.txt")) ? [] : generator), ...options], { quiet: true, env });
  const choice = targets.flatMap((target) => ["--target", target]);
  await run("cmake", ["--build", place, "--parallel", String(buildJobs), ...choice], { quiet: true, onOutput: showProgress, env });
}

/**
 * @param {{ folder: string, only?: string | undefined, except?: string, label?: string, parallel?: boolean, wrapper?: readonly string[] }} how
 * @returns {Promise<Count>}
 */
async function runCtest({ folder, only, except, label, parallel = false, wrapper = [] }) {
  const place = inRoot(folder);
  const selection = [
    ...(only === undefined ? [] : ["--tests-regex", only]),
    ...(except === undefined ? [] : ["--exclude-regex", except]),
    ...(label === undefined ? [] : ["--label-regex", label]),
    ...(parallel ? ["--parallel", String(buildJobs)] : []),
  ];
  const command = [...wrapper, "ctest", "--test-dir", place, "--verbose", ...selection];
  const output = await run(/** @type {string} */ (command[0]), command.slice(1), { quiet: true, returnOnFailure: true });
  const count = countNative(output);
  if (0 < count.failed) process.stdout.write(failingLines(output));
  return count;
}

/**
 * Test programs print one line per case and end with "N passed, N failed"; ctest adds one line per program.
 * A program that broke off before its last line counts as one failure, one that lacks its device as one skipped.
 * @param {string} output
 * @returns {Count}
 */
export function countNative(output) {
  const sums = [...output.matchAll(/^\d+: (\d+) passed, (\d+) failed$/gm)];
  const skipped = [...output.matchAll(/^\s*\d+\/\d+ Test\s+#\d+: .*\*\*\*Skipped/gm)].length;
  const passed = sums.reduce((sum, found) => sum + Number(found[1]), 0);
  const failedCases = sums.reduce((sum, found) => sum + Number(found[2]), 0);
  const failedPrograms = [...output.matchAll(/^\s*\d+\/\d+ Test\s+#\d+: .*(?:\*\*\*(?!Skipped)|Not Run)/gm)].length;
  const programsWithFailedCases = sums.filter((found) => Number(found[2]) !== 0).length;
  const brokenOff = Math.max(0, failedPrograms - programsWithFailedCases);
  if (sums.length + failedPrograms + skipped === 0) throw new Trouble("ctest ran no test program");
  return { passed, failed: failedCases + brokenOff, skipped };
}

/** All but the cases that went well. @param {string} output */
function failingLines(output) {
  return output
    .split("\n")
    .filter((line) => !/^\d+: ok /.test(line))
    .slice(-400)
    .join("\n");
}

/** Python tests of the training code; the environment is large, so it is made only where that was asked for.
 * @param {boolean} mayInstall
 * @returns {Promise<Count>}
 */
export async function trainingTests(mayInstall) {
  const environment = inRoot("training/.venv");
  if (!mayInstall && !existsSync(path.join(environment, ".installed"))) {
    const note = "training not tested: npm test -- --all makes its environment (PyTorch, several hundred MB) and tests it";
    return { passed: 0, failed: 0, skipped: 1, note };
  }
  const packages = ["-e", `${inRoot("training")}[dev,adapters,plots]`];
  const python = await ensurePythonEnvironment(environment, packages, "the training environment");
  const output = await run(python, ["-m", "pytest", "-q"], { cwd: inRoot("training"), onOutput: () => {}, returnOnFailure: true });
  const summary = output.trim().split("\n").at(-1) ?? "";
  const number = (/** @type {string} */ what) => Number(summary.match(new RegExp(`(\\d+) ${what}`))?.[1] ?? 0);
  const count = { passed: number("passed"), failed: number("failed") + number("error"), skipped: number("skipped") };
  if (count.passed + count.failed === 0) throw new Trouble(`pytest ended with: ${summary}`);
  return count;
}
