import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import path from "node:path";
import { expect, inject, test } from "vitest";
import { startCodeServer } from "../../scripts/codeServer.mjs";
import { connectBrowser, openWorkbench, quietSettings } from "../../scripts/workbench.mjs";
import { bundledModelChosen } from "../support/vscodeWindow";

test("a folder that is not trusted gets suggestions, but cannot say which model is loaded", async () => {
  const parent = inject("vscode").folder;
  const folder = mkdtempSync(path.join(parent, "untrusted-"));
  mkdirSync(path.join(folder, ".vscode"));
  writeFileSync(path.join(folder, ".vscode/settings.json"), JSON.stringify({ "pipo.model.path": "/no/such/model" }));
  const file = path.join(folder, "sums.ts");
  writeFileSync(file, "export const one = 1;\n");
  const server = await startCodeServer({
    folder: path.join(parent, "untrusted-vscode"),
    vsix: [inject("vsix")],
    settings: { ...quietSettings, "security.workspace.trust.startupPrompt": "never" },
    machineSettings: bundledModelChosen,
    isTrusted: false,
  });
  const browser = await connectBrowser(inject("vscode").browser);
  try {
    const workbench = await openWorkbench(browser, { url: server.url, folder, file });
    await workbench.waitForStatus(/Ready/, 90_000);
    expect(await workbench.page.locator(".statusbar-item", { hasText: "Restricted Mode" }).count()).toBe(1);
    expect(await workbench.messages()).toEqual([]);
  } finally {
    await browser.close();
    await server.stop();
  }
});
