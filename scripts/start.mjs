// npm start: VS Code with this extension and a sample folder, in the desktop program where there is one and
// otherwise in the browser. npm start -- --check asks for one suggestion there and prints it.
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { build } from "./build.mjs";
import { checkOneSuggestion } from "./check.mjs";
import { startCodeServer } from "./codeServer.mjs";
import { modelsFolder, modelToStartWith } from "./model.mjs";
import { packageExtension } from "./package.mjs";
import { ask, hasProgram, inRoot, isEntryPoint, main, root, run, say, Trouble } from "./shell.mjs";
import { quietSettings } from "./workbench.mjs";

const help = `npm start [-- options]
  --browser   VS Code in the browser, also where the desktop program is installed
  --port N    port for the browser, on 127.0.0.1 only (default: a free one)
  --bundled   with the model that comes with the package; without it the model that suits this machine is fetched first
  --check     start everything, take one suggestion in a sample file, print it with its numbers, end
`;

/** @param {readonly string[]} options */
async function start(options) {
  if (options.includes("--help")) return console.log(help);
  const port = portOf(options);
  await build();
  const isCheck = options.includes("--check");
  const model = await modelToStartWith({ bundled: options.includes("--bundled"), isCheck });
  if (isCheck) return checkOneSuggestion(model);
  if (!options.includes("--browser") && canOpenDesktop()) return openDesktop(model);
  return serveInBrowser(model, port);
}

function canOpenDesktop() {
  const hasScreen = process.platform !== "linux" || Boolean(process.env.DISPLAY || process.env.WAYLAND_DISPLAY);
  return hasScreen && hasProgram("code") && ask("code", ["--version"]) !== undefined;
}

/** A profile that is thrown away afterwards: nothing of the user's own VS Code changes. @param {string} model */
async function openDesktop(model) {
  const folder = sampleFolder();
  mkdirSync(path.join(folder, ".vscode"), { recursive: true });
  writeFileSync(path.join(folder, ".vscode/settings.json"), JSON.stringify({ "pipo.model.path": model }, null, 2));
  say("opening VS Code with the extension in a temporary profile");
  const files = [path.join(folder, "geometry.ts"), path.join(folder, "inventory.py")];
  await run("code", ["--new-window", "--profile-temp", `--extensionDevelopmentPath=${root}`, folder, ...files]);
}

/** @param {string} model @param {number | undefined} port */
async function serveInBrowser(model, port) {
  const vsix = await packageExtension();
  const folder = sampleFolder();
  const profile = mkdtempSync(path.join(tmpdir(), "pipo-start-"));
  const machineSettings = { "pipo.model.path": model };
  const env = { PIPO_MODELS_DIR: modelsFolder() };
  const server = await startCodeServer({ folder: profile, vsix: [vsix], settings: quietSettings, machineSettings, env, ...(port === undefined ? {} : { port }) });
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
