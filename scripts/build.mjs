// npm run build: packages, the three bundles, the engine. Only what changed is made again.
import { createHash } from "node:crypto";
import { chmodSync, copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { environmentFor, findNvcc, nameOf } from "./cuda.mjs";
import { ensure, ensureNodeModules, needs } from "./prerequisites.mjs";
import { thirdPartyNotices } from "./thirdParty.mjs";
import { buildJobs, inRoot, isEntryPoint, main, run, say, Trouble } from "./shell.mjs";

const bundles = [
  { entry: "extension/src/main.ts", outfile: "dist/extension.js" },
  { entry: "server/src/main.ts", outfile: "dist/server.js" },
  { entry: "server/src/cli/main.ts", outfile: "dist/cli.js", isProgram: true },
];

const addon = "dist/pipo_engine.node";
/** Beside the addon, which looks for it there. */
export const cudaLibrary = "dist/libpipo_cuda.so";

/** Everything that the product needs in `dist/`. */
export async function build() {
  await ensureNodeModules();
  await bundleAll();
  await buildAddon();
}

export async function bundleAll() {
  const started = Date.now();
  const { build: bundle } = await import("esbuild");
  /** @type {string[]} */
  const inputs = [];
  for (const { entry, outfile, isProgram = false } of bundles) {
    const { metafile } = await bundle({
      absWorkingDir: inRoot(),
      entryPoints: [entry],
      outfile,
      bundle: true,
      platform: "node",
      format: "cjs",
      target: "node20",
      // node-llama-cpp is the peer of the benchmark: a development package, never shipped.
      external: ["vscode", "*.node", "node-llama-cpp"],
      sourcemap: true,
      sourcesContent: false,
      minifySyntax: true,
      minifyWhitespace: true,
      metafile: true,
      logLevel: "warning",
      ...(isProgram ? { banner: { js: "#!/usr/bin/env node" } } : {}),
    });
    inputs.push(...Object.keys(metafile.inputs));
    if (isProgram) makeRunnable(outfile);
  }
  writeFileSync(inRoot("dist/THIRD-PARTY-NOTICES.txt"), thirdPartyNotices(inputs));
  say(`bundled the extension, the server and the command line in ${Date.now() - started} ms`);
}

/** Lets `npx pipo` find the command of this checkout at once.
 * @param {string} program
 */
function makeRunnable(program) {
  chmodSync(inRoot(program), 0o755);
  const link = inRoot("node_modules/.bin/pipo");
  rmSync(link, { force: true });
  symlinkSync(path.join("../..", program), link);
}

/** Compiles `native/` and `kernels/` into `dist/pipo_engine.node`, and where there is nvcc into `dist/libpipo_cuda.so`. */
export async function buildAddon() {
  const folder = inRoot("build/addon");
  const stamp = path.join(folder, ".built-from");
  const nvcc = findNvcc();
  const sources = `${sourceFingerprint(["CMakeLists.txt", "native", "kernels"])}\n${nameOf(nvcc)}`;
  if (existsSync(inRoot(addon)) && existsSync(stamp) && readFileSync(stamp, "utf8") === sources) return;
  await ensure(needs.nativeBuild);
  say(nvcc === undefined ? "building the engine" : `building the engine, its CUDA kernels with ${nvcc.program}`);
  const started = Date.now();
  await withLock(`${folder}.lock`, async () => {
    const env = environmentFor(folder, nvcc);
    forgetHalfConfigured(folder);
    const cmakeJs = inRoot("node_modules/cmake-js/bin/cmake-js");
    const output = await run(process.execPath, [cmakeJs, "build", "--out", folder, "--parallel", String(buildJobs)], {
      quiet: true,
      onOutput: showProgress,
      env,
    });
    const made = findFile(folder, path.basename(addon));
    if (made === undefined) throw new Trouble("the native build did not make pipo_engine.node");
    putInPlace(made, inRoot(addon));
    putCudaLibraryInPlace(folder, output);
    writeFileSync(stamp, sources);
  });
  say(`built the engine in ${((Date.now() - started) / 1000).toFixed(1)} s: ${addon}`);
}

/** An older library would not fit the engine, so there is either the new one or none.
 * @param {string} folder
 * @param {string} output  of the build, which says why there is none
 */
function putCudaLibraryInPlace(folder, output) {
  const made = findFile(folder, path.basename(cudaLibrary));
  if (made !== undefined) {
    putInPlace(made, inRoot(cudaLibrary));
    say(`with CUDA kernels: ${cudaLibrary} (${(statSync(made).size / 1e6).toFixed(1)} MB)`);
    return;
  }
  rmSync(inRoot(cudaLibrary), { force: true });
  say(output.match(/Without the CUDA kernels: .*/)?.[0].replace("W", "w") ?? "without the CUDA kernels");
}

/** Ninja and make say how far they are; on a terminal one line follows them.
 * @param {string} output
 */
export function showProgress(output) {
  const found = [...output.matchAll(/\[(\d+\/\d+|\s*\d+%)\]/g)].at(-1);
  if (found && process.stderr.isTTY) process.stderr.write(`\r  ${found[1]}\x1b[K\r`);
}

/** After a configuration that failed (say, without a compiler), CMake would build and not configure again.
 * @param {string} folder
 */
function forgetHalfConfigured(folder) {
  const isConfigured = ["build.ninja", "Makefile"].some((name) => existsSync(path.join(folder, name)));
  if (!isConfigured) rmSync(folder, { recursive: true, force: true });
}

/** A running server may have the old file mapped, so it is replaced and never written over.
 * @param {string} from
 * @param {string} to
 */
function putInPlace(from, to) {
  mkdirSync(path.dirname(to), { recursive: true });
  const fresh = `${to}.${process.pid}`;
  copyFileSync(from, fresh);
  renameSync(fresh, to);
}

/** Changes when a source is added, removed or written.
 * @param {readonly string[]} places
 */
function sourceFingerprint(places) {
  const hash = createHash("sha256");
  for (const place of places) {
    for (const file of filesUnder(inRoot(place))) {
      const { mtimeMs, size } = statSync(file);
      hash.update(`${file}\0${mtimeMs}\0${size}\n`);
    }
  }
  return hash.digest("hex");
}

/** @param {string} place @returns {string[]} */
function filesUnder(place) {
  if (!statSync(place).isDirectory()) return [place];
  return readdirSync(place, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath ?? entry.path, entry.name))
    .sort();
}

/** @param {string} folder @param {string} name */
function findFile(folder, name) {
  return filesUnder(folder).find((file) => path.basename(file) === name);
}

/**
 * Two builds in one folder spoil each other (say, `npm start` beside `npm test`).
 * @param {string} lock
 * @param {() => Promise<void>} work
 */
async function withLock(lock, work) {
  mkdirSync(path.dirname(lock), { recursive: true });
  while (!take(lock)) await new Promise((resolve) => setTimeout(resolve, 500));
  try {
    await work();
  } finally {
    rmSync(lock, { force: true });
  }
}

/** @param {string} lock */
function take(lock) {
  try {
    writeFileSync(lock, String(process.pid), { flag: "wx" });
    return true;
  } catch {
    if (!isAlive(Number(readFileSync(lock, "utf8")))) rmSync(lock, { force: true });
    return false;
  }
}

/** @param {number} pid */
function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

if (isEntryPoint(import.meta.url)) main(build);
