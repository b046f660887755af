// VS Code in the browser (code-server): installed from npm packages alone, and started on loopback.
import { spawn } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import http from "node:http";
import net from "node:net";
import path from "node:path";
import { ensure, needs } from "./prerequisites.mjs";
import { ask, inRoot, run, say, Trouble } from "./shell.mjs";

/** VS Code 1.100.3; runs on Node 20. */
const version = "4.100.3";
const home = inRoot(".cache", `code-server-${version}-node${process.versions.modules}`);
const entry = path.join(home, "node_modules/code-server/out/node/entry.js");

/**
 * Installs code-server unless it is there. Its own install scripts build everything and fetch a program
 * from outside npm; here they stay off, and the four native modules that VS Code cannot do without are
 * built against the headers of this Node.
 * @returns {Promise<string>} the program that Node runs
 */
export async function installCodeServer() {
  const stamp = path.join(home, ".installed");
  if (existsSync(stamp)) return entry;
  await ensure(needs.codeServer);
  say(`installing VS Code for the browser (code-server ${version}, about 320 MB, once)`);
  rmSync(home, { recursive: true, force: true });
  mkdirSync(home, { recursive: true });
  writeFileSync(path.join(home, "package.json"), '{"private":true}\n');
  await installPackages(home, [`code-server@${version}`, "@vscode/ripgrep@1.18.0"]);
  const vscode = path.join(home, "node_modules/code-server/lib/vscode");
  await Promise.all([installPackages(vscode), installPackages(path.join(vscode, "extensions"))]);
  await buildNativeModules(vscode);
  makeLinks(vscode);
  writeFileSync(stamp, version);
  return entry;
}

/** @param {string} folder @param {readonly string[]} packages */
async function installPackages(folder, packages = []) {
  const flags = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"];
  await run("npm", ["install", ...flags, ...(packages.length === 0 ? ["--omit=dev"] : packages)], { cwd: folder, quiet: true });
}

/** @param {string} vscode */
async function buildNativeModules(vscode) {
  const env = { ...process.env, JOBS: "2", ...headersOfThisNode() };
  await run("npm", ["rebuild", "argon2"], { cwd: home, quiet: true, env: { ...env, npm_config_build_from_source: "true" } });
  const nodeGyp = path.join(npmFolder(), "node_modules/node-gyp/bin/node-gyp.js");
  for (const name of ["@vscode/spdlog", "native-watchdog", "node-pty"]) {
    await run(process.execPath, [nodeGyp, "rebuild"], { cwd: path.join(vscode, "node_modules", name), quiet: true, env });
  }
}

/** Without these node-gyp fetches the headers itself. */
function headersOfThisNode() {
  const prefix = path.dirname(path.dirname(realpathSync(process.execPath)));
  return existsSync(path.join(prefix, "include/node/node_api.h")) ? { npm_config_nodedir: prefix } : {};
}

function npmFolder() {
  const program = ask("sh", ["-c", "command -v npm"]);
  if (program === undefined) throw new Trouble("npm is not on the PATH");
  return path.dirname(path.dirname(realpathSync(program)));
}

/** What the package's own install script would link.
 * @param {string} vscode
 */
function makeLinks(vscode) {
  const ripgrep = ask(process.execPath, ["-p", "require('@vscode/ripgrep').rgPath"], { cwd: home });
  const bin = path.join(vscode, "node_modules/@vscode/ripgrep/bin");
  mkdirSync(bin, { recursive: true });
  if (ripgrep !== undefined) link(ripgrep, path.join(bin, "rg"));
  link("node_modules", path.join(vscode, "node_modules.asar"));
  link("code-linux.sh", path.join(vscode, "bin/remote-cli/code-server"));
  link("browser-linux.sh", path.join(vscode, "bin/helpers/browser.sh"));
}

/** @param {string} target @param {string} name */
function link(target, name) {
  rmSync(name, { force: true });
  symlinkSync(target, name);
}

/**
 * @typedef {object} RunningCodeServer
 * @property {string} url
 * @property {string} userData  folder of settings and logs
 * @property {number} pid  its process group holds the extension host and the language servers
 * @property {Promise<void>} ended
 * @property {() => Promise<void>} stop
 */

/**
 * Starts VS Code on loopback with its own profile and nothing but the given extension.
 * @param {{ folder: string, vsix: readonly string[], settings: object, machineSettings?: object, isTrusted?: boolean, env?: NodeJS.ProcessEnv, port?: number }} options
 *   `folder` is emptied first and holds the profile, the extensions and the home folder of this run; settings that belong
 *   to a machine and not to a person (which model, how it is computed) count in `machineSettings` only.
 * @returns {Promise<RunningCodeServer>}
 */
export async function startCodeServer({ folder, vsix, settings, machineSettings = {}, isTrusted = true, env = {}, port }) {
  const program = await installCodeServer();
  const places = prepareProfile(folder, settings, machineSettings);
  const environment = cleanEnvironment(places.home, env);
  const base = [program, "--user-data-dir", places.userData, "--extensions-dir", places.extensions, "--config", places.config];
  for (const file of vsix) await run(process.execPath, [...base, "--install-extension", file], { env: environment, quiet: true, timeoutMs: 120_000 });

  const usedPort = port ?? (await freePort());
  const url = `http://127.0.0.1:${usedPort}`;
  const flags = ["--bind-addr", `127.0.0.1:${usedPort}`, "--auth", "none", "--disable-telemetry", "--disable-update-check", "--disable-getting-started-override"];
  const log = path.join(folder, "server.log");
  const output = openSync(log, "w");
  const child = spawn(process.execPath, [...base, ...flags, ...(isTrusted ? ["--disable-workspace-trust"] : [])], {
    env: environment,
    stdio: ["ignore", output, output],
    detached: true,
  });
  closeSync(output);
  const pid = child.pid;
  if (pid === undefined) throw new Trouble("VS Code for the browser did not start");
  const ended = new Promise((/** @type {(value: void) => void} */ resolve) => child.once("exit", () => resolve()));
  const stop = () => stopGroup(pid, ended);
  try {
    await waitUntil(() => answers(`${url}/healthz`), 60_000, "VS Code for the browser to answer", () => child.exitCode !== null);
  } catch (error) {
    await stop();
    throw new Trouble(`${error instanceof Error ? error.message : error}\n${readFileSync(log, "utf8").slice(-2000)}`);
  }
  return { url, userData: places.userData, pid, ended, stop };
}

/** @param {string} folder @param {object} settings @param {object} machineSettings */
function prepareProfile(folder, settings, machineSettings) {
  rmSync(folder, { recursive: true, force: true });
  const places = {
    userData: path.join(folder, "user-data"),
    extensions: path.join(folder, "extensions"),
    home: path.join(folder, "home"),
    config: path.join(folder, "config.yaml"),
  };
  for (const kind of ["User", "Machine"]) mkdirSync(path.join(places.userData, kind), { recursive: true });
  mkdirSync(places.extensions, { recursive: true });
  mkdirSync(places.home, { recursive: true });
  writeFileSync(path.join(places.userData, "User/settings.json"), JSON.stringify(settings, null, 2));
  writeFileSync(path.join(places.userData, "Machine/settings.json"), JSON.stringify(machineSettings, null, 2));
  writeFileSync(places.config, "");
  return places;
}

/** Own home, no marketplace, and nothing of a VS Code around this process.
 * @param {string} home
 * @param {NodeJS.ProcessEnv} extra
 */
function cleanEnvironment(home, extra) {
  const kept = Object.entries(process.env).filter(([name]) => !/^(VSCODE_|CODE_SERVER_|npm_)|^(PORT|PASSWORD|HASHED_PASSWORD)$/.test(name));
  return {
    ...Object.fromEntries(kept),
    HOME: home,
    XDG_DATA_HOME: path.join(home, "share"),
    XDG_CONFIG_HOME: path.join(home, "config"),
    XDG_CACHE_HOME: path.join(home, "cache"),
    EXTENSIONS_GALLERY: "{}",
    ...extra,
  };
}

/** Server, extension host, file watcher and language servers are one process group.
 * @param {number} pid
 * @param {Promise<void>} ended
 */
async function stopGroup(pid, ended) {
  signalGroup(pid, "SIGTERM");
  await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 5_000))]);
  signalGroup(pid, "SIGKILL");
}

/** @param {number} pid @param {NodeJS.Signals} signal */
function signalGroup(pid, signal) {
  try {
    process.kill(-pid, signal);
  } catch {
    // The group is gone already.
  }
}

/** Log files of the window and its extensions, newest run only.
 * @param {string} userData
 */
export function logFiles(userData) {
  const folder = path.join(userData, "logs");
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".log"))
    .map((name) => path.join(folder, name));
}

/** @returns {Promise<number>} */
function freePort() {
  return new Promise((resolve, reject) => {
    const probe = net.createServer().once("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const address = probe.address();
      probe.close(() => (address !== null && typeof address === "object" ? resolve(address.port) : reject(new Error("no port"))));
    });
  });
}

/** @param {string} url @returns {Promise<boolean>} */
function answers(url) {
  return new Promise((resolve) => {
    const request = http.get(url, { timeout: 2_000 }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    request.on("error", () => resolve(false));
    request.on("timeout", () => {
      request.destroy();
      resolve(false);
    });
  });
}

/**
 * Asks again every 100 ms until the answer is truthy, and returns that answer.
 * @template T
 * @param {() => T | Promise<T>} check
 * @param {number} limitMs
 * @param {string} what  as the error names it
 * @param {() => boolean} [isHopeless]
 * @returns {Promise<NonNullable<T>>}
 */
export async function waitUntil(check, limitMs, what, isHopeless = () => false) {
  for (const end = Date.now() + limitMs; Date.now() < end; ) {
    const answer = await check();
    if (answer) return answer;
    if (isHopeless()) break;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Trouble(`waited ${Math.round(limitMs / 1000)} s in vain for ${what}`);
}
