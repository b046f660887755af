// The CUDA compiler: found on this machine, or installed beside the build; and what it says of the kernels it made.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { ensurePythonEnvironment } from "./prerequisites.mjs";
import { ask, inRoot, Trouble } from "./shell.mjs";

/** nvcc, what it and its static runtime need, and what lists the parts of a library; together about 380 MB. */
const toolkitPackages = [
  "nvidia-cuda-nvcc==13.5.37",
  "nvidia-cuda-crt==13.5.37",
  "nvidia-nvvm==13.5.37",
  "nvidia-cuda-runtime==13.5.37",
  "nvidia-cuda-cccl==13.3.5.0.6",
  "nvidia-cuda-cuobjdump==13.5.37",
];
const toolkit = inRoot("build/cuda-toolkit/13.5.37");

/**
 * @typedef {object} Nvcc
 * @property {string} program
 * @property {string} version  as it prints it; changes with every release
 */

/** The CUDA compiler that builds take: named by CUDACXX, on the PATH, where toolkits are usually installed, or our own.
 * @returns {Nvcc | undefined}
 */
export function findNvcc() {
  if (process.platform !== "linux") return undefined;
  const places = [process.env.CUDACXX, ask("sh", ["-c", "command -v nvcc"]), "/usr/local/cuda/bin/nvcc", installedNvcc()];
  for (const program of places) {
    const version = program ? ask(program, ["--version"]) : undefined;
    if (program && version !== undefined) return { program, version };
  }
  return undefined;
}

/** The same, installed from Python packages where there is none. */
export async function ensureNvcc() {
  const found = findNvcc();
  if (found !== undefined) return found;
  if (process.platform !== "linux") throw new Trouble("the CUDA kernels are built on Linux only");
  await ensurePythonEnvironment(toolkit, toolkitPackages, "the CUDA compiler");
  const installed = findNvcc();
  if (installed === undefined) throw new Trouble(`${toolkit} has no nvcc that runs; delete that folder to install it again`);
  return installed;
}

function installedNvcc() {
  const libraries = path.join(toolkit, "lib");
  if (!existsSync(libraries)) return undefined;
  const places = readdirSync(libraries).map((python) => path.join(libraries, python, "site-packages/nvidia/cu13/bin/nvcc"));
  return places.find((place) => existsSync(place));
}

/** CMake keeps the compiler that it found first, or that it found none: another one needs a new configuration.
 * @param {string} folder  of the build
 * @param {Nvcc | undefined} nvcc
 * @returns {NodeJS.ProcessEnv} the environment in which CMake finds this compiler, and scripts the tools beside it
 */
export function environmentFor(folder, nvcc) {
  const note = path.join(folder, ".nvcc");
  const name = nameOf(nvcc);
  if (!existsSync(note) || readFileSync(note, "utf8") !== name) {
    for (const place of ["CMakeCache.txt", "CMakeFiles", "kernels/cuda", "Release/libpipo_cuda.so"]) rmSync(path.join(folder, place), { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    writeFileSync(note, name);
  }
  if (nvcc === undefined) return process.env;
  return { ...process.env, CUDACXX: nvcc.program, PATH: `${process.env.PATH}${path.delimiter}${path.dirname(nvcc.program)}` };
}

/** Differs between any two compilers. @param {Nvcc | undefined} nvcc */
export const nameOf = (nvcc) => (nvcc === undefined ? "none" : `${nvcc.program}\n${nvcc.version}`);

/** Kernels that spill more than so many bytes per thread on some target, out of the table of `compile_report.sh`.
 * @param {string} report
 * @param {number} limitBytes
 * @returns {string[]} their lines
 */
export function spillingKernels(report, limitBytes) {
  const spills = (/** @type {string} */ line) => [...line.matchAll(/\d+ \/ \d+ \/ \d+ \/ (\d+)/g)].map((found) => Number(found[1]));
  return report.split("\n").filter((line) => Math.max(0, ...spills(line)) > limitBytes);
}

/** What a library needs from the machine that it is loaded on, and what it offers.
 * @param {string} library
 */
export function librarySurface(library) {
  const needed = ask("readelf", ["-d", library]);
  const exported = ask("nm", ["-D", "--defined-only", library]);
  if (needed === undefined || exported === undefined) throw new Trouble(`readelf and nm cannot read ${library}`);
  return {
    needed: [...needed.matchAll(/\(NEEDED\).*\[(.+)\]/g)].map((found) => String(found[1])),
    exported: exported.split("\n").map((line) => line.split(" ").at(-1) ?? ""),
  };
}
