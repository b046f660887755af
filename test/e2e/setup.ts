import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import type { TestProject } from "vitest/node";
import { startCodeServer } from "../../scripts/codeServer.mjs";
import { packageExtension } from "../../scripts/package.mjs";
import { inRoot } from "../../scripts/shell.mjs";
import { openBrowserServer, quietSettings } from "../../scripts/workbench.mjs";
import { bundledModelChosen } from "../support/vscodeWindow";

declare module "vitest" {
  export interface ProvidedContext {
    /** VS Code's address, its profile, the process group of its server, and the browser to connect to. */
    vscode: { readonly url: string; readonly folder: string; readonly userData: string; readonly pid: number; readonly browser: string };
    vsix: string;
  }
}

/** Starts VS Code with the packaged extension once for all files. `PIPO_TEST_VSIX` names one that is ready made. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const vsix = process.env.PIPO_TEST_VSIX ?? (await packageExtension());
  const folder = mkdtempSync(path.join(tmpdir(), "pipo-e2e-"));
  mkdirSync(inRoot("test-results"), { recursive: true });
  const server = await startCodeServer({ folder: path.join(folder, "vscode"), vsix: [vsix], settings: quietSettings, machineSettings: bundledModelChosen });
  const browser = await openBrowserServer();
  project.provide("vsix", vsix);
  project.provide("vscode", { url: server.url, folder, userData: server.userData, pid: server.pid, browser: browser.wsEndpoint() });
  return async () => {
    await browser.close();
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  };
}
