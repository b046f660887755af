// npm start: VS Code with this extension and a sample folder, in the desktop program where there is one and
// otherwise in the browser. npm start -- --check asks for one suggestion there and prints it.
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { build } from "./build.mjs";
import { checkOneSuggestion } from "./check.mjs";
import { startCodeServer } from "./codeServer.mjs";
import { packageExtension } from "./package.mjs";
import { ask, hasProgram, inRoot, isEntryPoint, main, root, run, say, Trouble } from "./shell.mjs";
import { quietSettings } from "./workbench.mjs";

const help = `npm start [-- options]
  --browser   VS Code in the browser, also where the desktop program is installed
  --port N    port for the browser, on 127.0.0.1 only (default: a free one)
  --check     start everything, take one suggestion in a sample file, print it with its numbers, end
`;

/** @param {readonly string[]} options */
async function start(options) {
  if (options.includes("--help")) return console.log(help);
  if (options.includes("--check")) return checkOneSuggestion();
  if (!options.includes("--browser") && canOpenDesktop()) return openDesktop();
  return serveInBrowser(portOf(options));
}

function canOpenDesktop() {
  const hasScreen = process.platform !== "linux" || Boolean(process.env.DISPLAY || process.env.WAYLAND_DISPLAY);
  return hasScreen && hasProgram("code") && ask("code", ["--version"]) !== undefined;
}

/** A profile that is thrown away afterwards: nothing of the user's own VS Code changes. */
async function openDesktop() {
  await build();
  const folder = sampleFolder();
  say("opening VS Code with the extension in a temporary profile");
  const files = [path.join(folder, "geometry.ts"), path.join(folder, "inventory.py")];
  await run("code", ["--new-window", "--profile-temp", `--extensionDevelopmentPath=${root}`, folder, ...files]);
}

/** @param {number | undefined} port */
async function serveInBrowser(port) {
  const vsix = await packageExtension();
  const folder = sampleFolder();
  const profile = mkdtempSync(path.join(tmpdir(), "pipo-start-"));
  const server = await startCodeServer({ folder: profile, vsix: [vsix], settings: quietSettings, ...(port === undefined ? {} : { port }) });
  const stop = () => void server.stop();
  process.once("SIGINT", stop);
  process.once("SIGTERM", stop);
  const file = `vscode-remote://${new URL(server.url).host}${path.join(folder, "geometry.ts")}`;
  const query = new URLSearchParams({ folder, payload: JSON.stringify([["openFile", file]]) });
  console.log(`\n  VS Code with PIPO:  ${server.url}/?${query}\n\n  Ctrl+C stops it.\n`);
  await server.ended;
  await server.stop();
  rmSync(profile, { recursive: true, force: true });
}

/** A copy, so that trying things out does not change the repository. */
function sampleFolder() {
  const folder = inRoot(".cache/sample");
  if (!existsSync(folder)) {
    mkdirSync(path.dirname(folder), { recursive: true });
    cpSync(inRoot("scripts/sample"), folder, { recursive: true });
  }
  return folder;
}

/** @param {readonly string[]} options */
function portOf(options) {
  const at = options.indexOf("--port");
  if (at === -1) return undefined;
  const port = Number(options[at + 1]);
  if (!Number.isInteger(port) || port < 1 || 65_535 < port) throw new Trouble("--port needs a number from 1 to 65535");
  return port;
}

if (isEntryPoint(import.meta.url)) main(() => start(process.argv.slice(2)));
