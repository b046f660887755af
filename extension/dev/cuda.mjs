// The CUDA compiler: found on this machine, or installed beside the build; and what it says of the kernels it made.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { ensurePythonEnvironment } from "./prerequisites.mjs";
import { ask, inRoot, Trouble } from "./shell.mjs";

/** What nvcc and its static runtime need; together about 380 MB. */
const toolkitPackages = [
  "nvidia-cuda-nvcc==13.5.37",
  "nvidia-cuda-crt==13.5.37",
  "nvidia-nvvm==13.5.37",
  "nvidia-cuda-runtime==13.5.37",
  "nvidia-cuda-cccl==13.3.5.0.6",
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
 * @returns {NodeJS.ProcessEnv} the environment in which CMake finds this compiler
 */
export function environmentFor(folder, nvcc) {
  const note = path.join(folder, ".nvcc");
  const name = nameOf(nvcc);
  if (!existsSync(note) || readFileSync(note, "utf8") !== name) {
    for (const place of ["CMakeCache.txt", "CMakeFiles", "kernels/cuda", "Release/libpipo_cuda.so"]) rmSync(path.join(folder, place), { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    writeFileSync(note, name);
  }
  return nvcc === undefined ? process.env : { ...process.env, CUDACXX: nvcc.program };
}

/** Differs between any two compilers. @param {Nvcc | undefined} nvcc */
export const nameOf = (nvcc) => (nvcc === undefined ? "none" : `${nvcc.program}\n${nvcc.version}`);

/**
 * @typedef {object} KernelUse
 * @property {string} kernel  with its namespaces and parameters left out
 * @property {string} target  sm_80 and so on
 * @property {number} registers
 * @property {number} sharedBytes  static shared memory
 * @property {number} spillBytes  stored to memory for want of registers, per thread
 */

/** What the option PIPO_CUDA_REPORT left in a build folder, one entry per kernel and target.
 * @param {string} folder
 */
export function kernelReport(folder) {
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".ptxas"));
  return files.flatMap((file) => usesIn(readFileSync(path.join(folder, file), "utf8"))).sort(byKernel);
}

/** @param {string} text  what `ptxas -v` prints @returns {KernelUse[]} */
export function usesIn(text) {
  const blocks = text.split(/Compiling entry function /).slice(1);
  const names = demangled(blocks.map((block) => block.match(/^'([^']+)'/)?.[1] ?? ""));
  return blocks.map((block, index) => ({
    kernel: shortName(names[index] ?? ""),
    target: block.match(/for '(sm_\w+)'/)?.[1] ?? "",
    registers: numberIn(block, /Used (\d+) registers/),
    sharedBytes: numberIn(block, /(\d+) bytes smem/),
    spillBytes: numberIn(block, /(\d+) bytes spill stores/),
  }));
}

/** @param {string} text @param {RegExp} pattern */
const numberIn = (text, pattern) => Number(text.match(pattern)?.[1] ?? 0);

/** @param {readonly string[]} names */
function demangled(names) {
  const plain = ask("c++filt", [], { input: names.join("\n") });
  return plain === undefined ? names : plain.split("\n");
}

/** @param {string} name  `void a::b<(a::T)1, 2>(a::Args)` becomes `b<1, 2>` */
function shortName(name) {
  const withoutEnums = name.replace(/\([\w:]+\)(?=\d)/g, "");
  const signature = withoutEnums.replace(/\([^()]*\)$/, "").replace(/^void /, "");
  return signature.replace(/(?:\w+::)+/g, "");
}

/** @param {KernelUse} a @param {KernelUse} b */
const byKernel = (a, b) => a.kernel.localeCompare(b.kernel) || a.target.localeCompare(b.target);

/** One line per kernel, its registers on each target side by side; spilled bytes behind a plus sign.
 * @param {readonly KernelUse[]} uses
 */
export function reportTable(uses) {
  const targets = [...new Set(uses.map(({ target }) => target))].sort((a, b) => Number.parseInt(a.slice(3)) - Number.parseInt(b.slice(3)));
  const kernels = [...new Set(uses.map(({ kernel }) => kernel))];
  const cell = (/** @type {KernelUse | undefined} */ use) => (use === undefined ? "" : `${use.registers}${use.spillBytes === 0 ? "" : ` +${use.spillBytes}`}`);
  const rows = kernels.map((kernel) => {
    const own = uses.filter((use) => use.kernel === kernel);
    return [kernel, ...targets.map((target) => cell(own.find((use) => use.target === target))), String(Math.max(...own.map(({ sharedBytes }) => sharedBytes)))];
  });
  const header = ["registers (+ bytes spilled)", ...targets, "shared bytes"];
  const widths = header.map((title, column) => Math.max(title.length, ...rows.map((row) => (row[column] ?? "").length)));
  const line = (/** @type {readonly string[]} */ row) =>
    row.map((value, column) => (column === 0 ? value.padEnd(widths[0] ?? 0) : value.padStart(widths[column] ?? 0))).join("  ");
  return [header, ...rows].map(line).join("\n");
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
