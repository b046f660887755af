// What must be on the machine before the project can be built, run or tested: checked, and installed where we may.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { ask, hasProgram, inRoot, run, say, Trouble } from "./shell.mjs";

/**
 * @typedef {object} Prerequisite
 * @property {string} what  as the message names it
 * @property {() => boolean} isPresent
 * @property {readonly string[]} debianPackages
 */

/** @type {Prerequisite} */
const cxx20 = {
  what: "a C++20 compiler (g++ 10 or newer, or clang 12 or newer)",
  isPresent: compilesCxx20,
  debianPackages: ["g++"],
};

/** @type {Prerequisite} */
const cmake = {
  what: "CMake 3.19 or newer",
  isPresent: () => isAtLeast(ask("cmake", ["--version"]), 3, 19),
  debianPackages: ["cmake"],
};

/** @type {Prerequisite} */
const buildTool = {
  what: "ninja or make",
  isPresent: () => hasProgram("ninja") || hasProgram("make"),
  debianPackages: ["ninja-build"],
};

/** @type {Prerequisite} */
const make = { what: "make", isPresent: () => hasProgram("make"), debianPackages: ["make"] };

/** @type {Prerequisite} */
const python = {
  what: "Python 3",
  isPresent: () => ask("python3", ["--version"]) !== undefined,
  debianPackages: ["python3"],
};

/** @type {Prerequisite} */
const pythonVenv = {
  what: "Python 3 with venv and pip",
  isPresent: () => ask("python3", ["-c", "import venv, ensurepip"]) !== undefined,
  debianPackages: ["python3", "python3-venv"],
};

/** @type {Prerequisite} */
const chromium = {
  what: "Chromium",
  isPresent: () => chromiumPath() !== undefined,
  debianPackages: ["chromium", "fonts-dejavu-core"],
};

/** @type {Prerequisite} */
const armCompiler = {
  what: "a compiler for 64-bit ARM",
  isPresent: () => hasProgram("aarch64-linux-gnu-g++"),
  debianPackages: ["g++-aarch64-linux-gnu"],
};

/** @type {Prerequisite} */
const armEmulator = {
  what: "qemu for 64-bit ARM programs",
  isPresent: () => hasProgram("qemu-aarch64"),
  debianPackages: ["qemu-user"],
};

export const needs = {
  nativeBuild: [cxx20, cmake, buildTool],
  codeServer: [cxx20, make, python],
  browser: [chromium],
  arm: [armCompiler, armEmulator],
};

/** The browser that tests and checks drive, if there is one. */
export function chromiumPath() {
  return ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);
}

/**
 * Installs what is missing with apt-get where this process may, and otherwise says in one message what to install.
 * @param {readonly Prerequisite[]} wanted
 */
export async function ensure(wanted) {
  const missing = wanted.filter((one) => !one.isPresent());
  if (missing.length === 0) return;
  const packages = [...new Set(missing.flatMap((one) => one.debianPackages))];
  if (hasProgram("apt-get") && process.getuid?.() === 0) {
    say(`installing ${missing.map((one) => one.what).join(", ")}: apt-get install ${packages.join(" ")}`);
    const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
    await run("apt-get", ["update", "-qq"], { quiet: true, env });
    await run("apt-get", ["install", "-y", "-qq", "--no-install-recommends", ...packages], { quiet: true, env });
  }
  const still = wanted.filter((one) => !one.isPresent());
  if (still.length === 0) return;
  const lines = still.map((one) => `  - ${one.what}`).join("\n");
  throw new Trouble(`Missing on this machine:\n${lines}\nOn Debian or Ubuntu: sudo apt-get install ${packages.join(" ")}`);
}

/** @param {readonly Prerequisite[]} wanted */
export const arePresent = (wanted) => wanted.every((one) => one.isPresent());

/**
 * A Python environment with these packages, made once; its folder is a name for what is in it.
 * @param {string} folder
 * @param {readonly string[]} packages  as pip takes them
 * @param {string} what  as the message names it
 * @returns {Promise<string>} its Python
 */
export async function ensurePythonEnvironment(folder, packages, what) {
  const environmentPython = path.join(folder, "bin/python");
  const stamp = path.join(folder, ".installed");
  if (existsSync(stamp)) return environmentPython;
  await ensure([pythonVenv]);
  say(`installing ${what}`);
  mkdirSync(path.dirname(folder), { recursive: true });
  await run("python3", ["-m", "venv", folder], { quiet: true });
  await run(environmentPython, ["-m", "pip", "install", "--quiet", ...packages], { quiet: true });
  writeFileSync(stamp, "");
  return environmentPython;
}

/** Runs `npm ci` when the packages are missing or another lock file was installed. */
export async function ensureNodeModules() {
  if (!isAtLeast(process.version, 20, 0)) throw new Trouble(`Node 20 or newer is needed; this is ${process.version}.`);
  const lock = createHash("sha256").update(readFileSync(inRoot("package-lock.json"))).digest("hex");
  const stamp = inRoot("node_modules/.pipo-lock-hash");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === lock) return;
  if (!wasInstalledByHand()) {
    say("installing npm packages (npm ci)");
    await run("npm", ["ci", "--no-audit", "--no-fund"], { quiet: true });
  }
  writeFileSync(stamp, lock);
}

/** npm writes its own copy of the lock file last; a newer one means that somebody installed since. */
function wasInstalledByHand() {
  const installed = inRoot("node_modules/.package-lock.json");
  if (!existsSync(installed)) return false;
  return statSync(installed).mtimeMs >= statSync(inRoot("package-lock.json")).mtimeMs;
}

function compilesCxx20() {
  const compiler = process.env.CXX ?? "c++";
  if (!hasProgram(compiler)) return false;
  const folder = mkdtempSync(path.join(tmpdir(), "pipo-cxx-"));
  const source = path.join(folder, "probe.cpp");
  writeFileSync(source, "#include <bit>\n#include <concepts>\n#include <span>\nint main() { return std::popcount(0u); }\n");
  const ok = ask(compiler, ["-std=c++20", "-fsyntax-only", source]) !== undefined;
  rmSync(folder, { recursive: true, force: true });
  return ok;
}

/**
 * @param {string | undefined} text  something that contains a version number
 * @param {number} major
 * @param {number} minor
 */
function isAtLeast(text, major, minor) {
  const found = text?.match(/(\d+)\.(\d+)/);
  if (!found) return false;
  const [have, haveMinor] = [Number(found[1]), Number(found[2])];
  return have > major || (have === major && haveMinor >= minor);
}

