import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { inject } from "vitest";
import { waitUntil } from "../../scripts/codeServer.mjs";
import { inRoot } from "../../scripts/shell.mjs";
import { connectBrowser, openWorkbench, plainTypingSettings, type Workbench } from "../../scripts/workbench.mjs";

export interface WindowOptions {
  /** Name → text; the first one is opened. */
  readonly files: Readonly<Record<string, string>>;
  /** Settings of this folder, beside those that keep typing plain. */
  readonly settings?: Readonly<Record<string, unknown>>;
  /** The editor exactly as VS Code ships it. */
  readonly defaultEditor?: boolean;
}

export interface SuggestionNumbers {
  readonly tokens: number;
  readonly steps: number;
  readonly accepted: number;
  readonly gated: number;
  readonly draftsSkipped: number;
  readonly withdrawn: number;
}

/** For tests that are about the editor and not about how sure the model is. */
export const showEverything = { "pipo.completion.minConfidence": 0 };

/** Settings of the machine for tests that are not about choosing a model: whoever has chosen one is offered none. */
export const bundledModelChosen = { "pipo.model.path": nameOfBundledModel() };

/** One VS Code window on a folder of its own, with the extension running in it. */
export class VSCodeWindow {
  private constructor(
    readonly workbench: Workbench,
    readonly folder: string,
    /** The file that is open. */
    readonly file: string,
    private readonly serversBefore: ReadonlySet<number>,
    private readonly closeBrowser: () => Promise<void>,
  ) {}

  static async open({ files, settings = {}, defaultEditor = false }: WindowOptions): Promise<VSCodeWindow> {
    const { url, folder: parent, browser: address } = inject("vscode");
    const folder = mkdtempSync(path.join(parent, "workspace-"));
    mkdirSync(path.join(folder, ".vscode"));
    const all = { ...(defaultEditor ? {} : plainTypingSettings), ...modelSettings(), ...settings };
    writeFileSync(path.join(folder, ".vscode/settings.json"), JSON.stringify(all));
    for (const [name, text] of Object.entries(files)) writeFileSync(path.join(folder, name), text);
    const file = path.join(folder, Object.keys(files)[0] ?? "");
    const before = new Set(serverProcesses());
    const browser = await connectBrowser(address);
    const workbench = await openWorkbench(browser, { url, folder, file });
    return new VSCodeWindow(workbench, folder, file, before, () => browser.close());
  }

  /** Waits until the model is loaded. */
  ready(): Promise<void> {
    return this.workbench.waitForStatus(/Ready/, 90_000);
  }

  type(text: string, delayMs?: number): Promise<void> {
    return this.workbench.type(text, delayMs);
  }

  ghostText(): Promise<string> {
    return this.workbench.ghostText(this.file);
  }

  waitForGhostText(limitMs?: number): Promise<string> {
    return this.workbench.waitForGhostText(this.file, limitMs);
  }

  /** Types one text after the other until something is suggested; a small model is not sure everywhere. */
  async typeUntilSuggested(texts: readonly string[]): Promise<{ readonly typed: string; readonly suggested: string }> {
    let typed = "";
    for (const text of texts) {
      await this.type(text);
      typed += text;
      const suggested = await this.waitForGhostText(5_000).catch(() => undefined);
      if (suggested !== undefined) return { typed, suggested };
    }
    throw new Error(`nothing was suggested after typing ${JSON.stringify(typed)}; status: ${await this.workbench.status()}`);
  }

  /** Opens another file of the folder by name and makes it the current one. */
  async openFile(name: string): Promise<VSCodeWindow> {
    await this.workbench.press("Control+P");
    const input = this.workbench.page.locator(".quick-input-widget input").first();
    await input.fill(name);
    await this.workbench.page.locator(".quick-input-list .monaco-list-row", { hasText: name }).first().click();
    const file = path.join(this.folder, name);
    await this.workbench.editor(file).locator(".view-lines").first().waitFor();
    return new VSCodeWindow(this.workbench, this.folder, file, this.serversBefore, this.closeBrowser);
  }

  /**
   * Saves with the keyboard and waits until the file has this text: what was there and typed to the letter, and behind
   * it the suggestion as it stood on the screen, where a tab cannot be told from spaces.
   */
  async expectSaved(before: string, suggested = ""): Promise<void> {
    const onScreen = (text: string) => text.replace(/[ \t]+/g, " ");
    const isThere = (saved: string) => saved.startsWith(before) && onScreen(saved.slice(before.length)) === onScreen(suggested);
    await this.workbench.press("Control+s");
    await waitUntil(() => isThere(this.saved()), 10_000, "the saved file").catch(() => {
      throw new Error(`saved: ${JSON.stringify(this.saved())}\nexpected: ${JSON.stringify(before + suggested)}`);
    });
  }

  saved(): string {
    return readFileSync(this.file, "utf8");
  }

  /** Process id of this window's language server. */
  serverProcess(): Promise<number> {
    return waitUntil(() => serverProcesses().find((pid) => !this.serversBefore.has(pid)), 60_000, "the language server's process");
  }

  /** The extension's log: the newest window's. */
  log(): string {
    const logs = path.join(inject("vscode").userData, "logs");
    const files = readdirSync(logs, { recursive: true, encoding: "utf8" })
      .filter((name) => path.basename(name) === "PIPO.log")
      .map((name) => path.join(logs, name))
      .sort((a, b) => statSync(a).birthtimeMs - statSync(b).birthtimeMs);
    const newest = files.at(-1);
    return newest === undefined ? "" : readFileSync(newest, "utf8");
  }

  /** Numbers of the newest suggestion that the model wrote, from the log. */
  numbers(): Promise<SuggestionNumbers> {
    return waitUntil(() => {
      const line = this.log().split("\n").findLast((one) => one.includes("suggestion {"));
      return line === undefined ? undefined : (JSON.parse(line.slice(line.indexOf("{"))) as SuggestionNumbers);
    }, 10_000, "the numbers of a suggestion in the log");
  }

  /** Written to `test-results/`. */
  screenshot(name: string): Promise<void> {
    return this.workbench.screenshot(inRoot("test-results", `${name}.png`));
  }

  async close(): Promise<void> {
    await this.workbench.close();
    await this.closeBrowser();
  }
}

/** Runs a test in a window and closes it; on failure the screen and the log are kept in `test-results/`. */
export async function inWindow(options: WindowOptions, test: (window: VSCodeWindow) => Promise<void>): Promise<void> {
  const window = await VSCodeWindow.open(options);
  try {
    await test(window);
  } catch (error) {
    const name = `failed-${path.basename(window.folder)}`;
    await window.screenshot(name).catch(() => undefined);
    writeFileSync(inRoot("test-results", `${name}.log`), window.log());
    throw error;
  } finally {
    await window.close();
  }
}

function nameOfBundledModel(): string {
  const models = inRoot("models");
  const directory = readdirSync(models).find((name) => existsSync(path.join(models, name, "pipo.json")));
  return JSON.parse(readFileSync(path.join(models, directory ?? "", "pipo.json"), "utf8")).name;
}

/** Another checkpoint than the bundled one, for trying the tests with it. */
function modelSettings(): Readonly<Record<string, unknown>> {
  const model = process.env.PIPO_TEST_MODEL;
  return model === undefined ? {} : { "pipo.model.path": model };
}

/** Language servers in the process group of the shared VS Code. */
function serverProcesses(): readonly number[] {
  const group = String(inject("vscode").pid);
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && isServerOfGroup(name, group))
    .map(Number);
}

function isServerOfGroup(pid: string, group: string): boolean {
  try {
    const afterName = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1) ?? "";
    const [state, , processGroup] = afterName.split(" ");
    return state !== "Z" && processGroup === group && readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("dist/server.js");
  } catch {
    return false; // It ended meanwhile.
  }
}
