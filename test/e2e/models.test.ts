import { existsSync, mkdirSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { catalogueEntry } from "../../server/src/models/catalogue";
import { logFiles, startCodeServer, waitUntil } from "../../scripts/codeServer.mjs";
import { inRoot } from "../../scripts/shell.mjs";
import { connectBrowser, openWorkbench, quietSettings, type Workbench } from "../../scripts/workbench.mjs";
import { FakeHub } from "../support/fakeHub";

const themes = [
  { name: "dark", "workbench.colorTheme": "Default Dark Modern" },
  { name: "light", "workbench.colorTheme": "Default Light Modern" },
] as const;

/** A file name that would be a link in a message, an icon in a label and an image in a tooltip. */
const evilName = "[Repair](command:workbench.action.files.newUntitledFile) $(zap) ![x](x)";

/** Folder with real models, for trying out what loads. */
const testModels = process.env.PIPO_TEST_MODELS;
const smallModel = testModels === undefined ? undefined : path.join(testModels, catalogueEntry("smollm2-135m")?.file ?? "");

type Server = Awaited<ReturnType<typeof startCodeServer>>;
let server: Server;
let parent: string;
let hub: FakeHub;

/** A VS Code of its own: where models are kept, and a hub that sends zeros slowly, are parts of its environment. */
beforeAll(async () => {
  parent = mkdtempSync(path.join(inject("vscode").folder, "models-"));
  const wanted = catalogueEntry("qwen2.5-coder-0.5b");
  const zeros = { length: wanted?.bytes ?? 0, subarray: (start: number, end: number) => Buffer.alloc(end - start) };
  const started = await FakeHub.start(zeros, { pieceBytes: 1_000_000, slowMs: 20 }, afterAll);
  hub = started.hub;
  const folder = path.join(parent, "vscode");
  server = await startCodeServer({
    folder,
    vsix: [inject("vsix")],
    settings: quietSettings,
    env: { HF_ENDPOINT: started.url, PIPO_MODELS_DIR: path.join(parent, "downloads"), NO_PROXY: "127.0.0.1,localhost" },
  });
  const lmStudio = path.join(folder, "home/.lmstudio/models/publisher/repo");
  mkdirSync(lmStudio, { recursive: true });
  writeFileSync(path.join(lmStudio, `${evilName}.gguf`), "GGUF, and nothing that makes sense");
  if (smallModel !== undefined && existsSync(smallModel)) symlinkSync(smallModel, path.join(lmStudio, "small.gguf"));
});

afterAll(async () => server.stop());

/** Runs a test in a window of that VS Code. */
async function inModelsWindow(settings: object, run: (workbench: Workbench, settingsNow: () => Record<string, unknown>) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(path.join(parent, "workspace-"));
  mkdirSync(path.join(folder, ".vscode"));
  writeFileSync(path.join(folder, ".vscode/settings.json"), JSON.stringify(settings));
  const file = path.join(folder, "sums.ts");
  writeFileSync(file, "export const one = 1;\n");
  const machineSettings = path.join(server.userData, "Machine/settings.json");
  writeFileSync(machineSettings, "{}");
  const browser = await connectBrowser(inject("vscode").browser);
  try {
    const workbench = await openWorkbench(browser, { url: server.url, folder, file });
    try {
      await run(workbench, () => JSON.parse(readFileSync(machineSettings, "utf8")));
    } catch (error) {
      await screenshot(workbench, `failed-${path.basename(folder)}`);
      throw error;
    } finally {
      await workbench.close();
    }
  } finally {
    await browser.close();
  }
}

function logOfExtension(): string {
  const logs = logFiles(server.userData).filter((file) => path.basename(file) === "PIPO.log");
  return logs.map((file) => readFileSync(file, "utf8")).join("");
}

/** For a person to look at, so not before what slides and fades has come to rest. */
async function screenshot(workbench: Workbench, name: string): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 500));
  await workbench.screenshot(inRoot("test-results", `${name}.png`));
}

describe.each(themes)("choosing a model, $name", ({ name, ...theme }) => {
  test("is offered once, lists what there is, fetches what is chosen, and can be stopped", async () => {
    await inModelsWindow(theme, async (workbench, settingsNow) => {
      await workbench.waitForStatus(/Ready/, 90_000);
      await workbench.button("Choose a Model…").waitFor();
      expect(await workbench.messages()).toEqual([expect.stringMatching(/^PIPO is ready, .*nothing is downloaded/)]);
      await screenshot(workbench, `first-message-${name}`);

      await workbench.button("Choose a Model…").click();
      await workbench.waitForPick("Qwen2.5-Coder 0.5B");
      await screenshot(workbench, `model-picker-${name}`);
      const picks = (await workbench.picks.allTextContents()).join("\n").replaceAll("\u00a0", " ");
      for (const text of ["491 MB · Apache-2.0", "completion and chat", "Recommended", "On this machine", "LM Studio", "Comes with PIPO", "in use", "Browse for a Folder or GGUF File…"]) {
        expect(picks).toContain(text);
      }
      expect(picks).toContain("[Repair] (command:workbench.action.files.newUntitledFile) $ (zap)");

      await workbench.pick("Qwen2.5-Coder 0.5B");
      await workbench.waitForStatus(/Downloading Qwen2\.5-Coder 0\.5B: [1-9]\d? %/);
      await screenshot(workbench, `model-download-${name}`);
      expect((await workbench.messages()).join()).toMatch(/downloading Qwen2\.5-Coder 0\.5B: \d+ MB of 491 MB from the hub/);
      await workbench.button("Cancel").click();
      await workbench.waitForStatus(/Ready/);
      expect(await workbench.messages()).toEqual([]);
      expect(settingsNow()).toEqual({});

      await workbench.page.reload();
      await workbench.waitForStatus(/Ready/, 90_000);
      await new Promise((resolve) => setTimeout(resolve, 2_000));
      expect(await workbench.messages()).toEqual([]);
    });
  });
});

test("a download that was stopped goes on where it was", () => {
  const starts = hub.seen.map(({ start }) => start);
  expect(starts[0]).toBe(0);
  expect(starts[1]).toBeGreaterThan(1e6);
});

test("a name from a folder is no link, in the message about it and in the tooltip", async () => {
  await inModelsWindow({}, async (workbench, settingsNow) => {
    await workbench.waitForStatus(/Ready/, 90_000);
    await workbench.button("Not Now").click();
    await workbench.runCommand("PIPO: Choose a Model…");
    await workbench.pick("[Repair]");
    await waitUntil(async () => (await workbench.messages()).some((message) => message.includes("Repair")), 30_000, "a message about the file");
    await screenshot(workbench, "model-with-an-evil-name");
    expect(String(settingsNow()["pipo.model.path"])).toContain(evilName);
    expect(await workbench.page.locator(".notifications-toasts .notification-list-item-message a").count()).toBe(0);
    const hover = await workbench.statusHover();
    await screenshot(workbench, "model-with-an-evil-name-tooltip");
    expect(await hover.innerText()).toContain("[Repair](command");
    expect(await hover.locator("img").count()).toBe(0);
    const links = await hover.locator("a").allTextContents();
    expect(links).not.toContain("Repair");
  });
});

test("a GGUF file of another program is loaded where it lies", async ({ skip }) => {
  if (smallModel === undefined || !existsSync(smallModel)) skip(`PIPO_TEST_MODELS names no folder with ${path.basename(smallModel ?? "SmolLM2-135M-Instruct.Q4_1.gguf")}`);
  await inModelsWindow({}, async (workbench, settingsNow) => {
    await workbench.waitForStatus(/Ready/, 90_000);
    await workbench.button("Not Now").click();
    await workbench.runCommand("PIPO: Choose a Model…");
    await workbench.pick("small.gguf");
    await waitUntil(() => String(settingsNow()["pipo.model.path"] ?? "").endsWith("small.gguf"), 30_000, "the setting");
    await waitUntil(() => /SmolLM2.* is ready/i.test(logOfExtension()), 90_000, "the model to be loaded");
    // It is not trained to fill in the middle, which the tooltip says once a suggestion has been asked for.
    await workbench.page.locator(".monaco-editor .view-lines").first().click();
    await workbench.runCommand("Trigger Inline Suggestion");
    await workbench.waitForStatus(/fill.in.the.middle/i);
    expect(await (await workbench.statusHover()).innerText()).toMatch(/fill.in.the.middle/i);
    await screenshot(workbench, "model-of-another-program");
    expect(await workbench.messages()).toEqual([]);
  });
});
