// One suggestion through the whole stack: VS Code, extension, server, engine, model; printed with its numbers.
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { logFiles, startCodeServer, waitUntil } from "./codeServer.mjs";
import { modelsFolder } from "./model.mjs";
import { packageExtension } from "./package.mjs";
import { inRoot, say, Trouble } from "./shell.mjs";
import { openBrowser, openWorkbench, quietSettings } from "./workbench.mjs";

/** What is typed, in this order, until something is suggested: a small model may keep silent where it is unsure. */
const attempts = [
  "export function height(box: Box)",
  ": number {\n  return ",
  "box.bottom - ",
  "box.top;\n}\n\nexport function area(box: Box",
  "): number {\n  return width(",
];

/** How long the model may take to load on a slow machine. */
const loadLimitMs = 180_000;

/**
 * @param {string} model  value of `pipo.model.path`
 * @returns {Promise<number>} exit code
 */
export async function checkOneSuggestion(model) {
  const vsix = await packageExtension();
  const scratch = mkdtempSync(path.join(tmpdir(), "pipo-check-"));
  const folder = path.join(scratch, "sample");
  cpSync(inRoot("scripts/sample"), folder, { recursive: true });
  const server = await startCodeServer({
    folder: path.join(scratch, "vscode"),
    vsix: [vsix],
    settings: quietSettings,
    machineSettings: { "pipo.model.path": model },
    env: { PIPO_MODELS_DIR: modelsFolder() },
  });
  say(`VS Code answers at ${server.url}`);
  const browser = await openBrowser();
  try {
    const file = path.join(folder, "geometry.ts");
    const workbench = await openWorkbench(browser, { url: server.url, folder, file });
    await workbench.waitForStatus(/Ready/, loadLimitMs);
    say("the engine is ready; typing");
    const suggestion = await typeUntilSuggested(workbench, file);
    const screenshot = inRoot("test-results/start-check.png");
    mkdirSync(path.dirname(screenshot), { recursive: true });
    await workbench.screenshot(screenshot);
    const numbers = await waitUntil(() => suggestionNumbers(server.userData), 15_000, "the numbers of the suggestion in the log");
    print(suggestion, numbers, screenshot);
    return 0;
  } finally {
    await browser.close();
    await server.stop();
    rmSync(scratch, { recursive: true, force: true });
  }
}

/**
 * @param {import("./workbench.mjs").Workbench} workbench
 * @param {string} file
 */
async function typeUntilSuggested(workbench, file) {
  await workbench.focusEnd(file);
  let typed = "";
  for (const text of attempts) {
    await workbench.type(text);
    typed += text;
    const shown = await workbench.waitForGhostText(file, 8_000).catch(() => undefined);
    if (shown !== undefined) return { typed, shown };
  }
  throw new Trouble(`nothing was suggested after typing:\n${typed}\nThe status was: ${await workbench.status()}`);
}

/**
 * The extension writes one line of JSON per suggestion that came from the model.
 * @param {string} userData
 */
function suggestionNumbers(userData) {
  for (const log of logFiles(userData).filter((file) => path.basename(file) === "PIPO.log")) {
    const line = readFileSync(log, "utf8").split("\n").findLast((one) => one.includes("suggestion {"));
    if (line !== undefined) return JSON.parse(line.slice(line.indexOf("{")));
  }
  return undefined;
}

/**
 * @param {{ typed: string, shown: string }} suggestion
 * @param {Record<string, unknown>} numbers
 * @param {string} screenshot
 */
function print(suggestion, numbers, screenshot) {
  const lastLine = suggestion.typed.split("\n").at(-1);
  console.log(`\n  ${lastLine}\x1b[2m${suggestion.shown.replaceAll("\n", "\n  ")}\x1b[0m\n`);
  for (const [name, value] of Object.entries(numbers)) console.log(`  ${name.padEnd(22)} ${value}`);
  console.log(`\n  screenshot             ${path.relative(inRoot(), screenshot)}\n`);
}
