// Drives a VS Code window in Chromium the way a person does: keys, clicks, what stands on the screen.
import path from "node:path";
import { chromiumPath, ensure, needs } from "./prerequisites.mjs";
import { waitUntil } from "./codeServer.mjs";

/** @typedef {import("playwright-core").Page} Page */
/** @typedef {import("playwright-core").Locator} Locator */

/** What no test or check wants to meet: welcome pages, update and network checks, other helpers. */
export const quietSettings = {
  "workbench.startupEditor": "none",
  "workbench.tips.enabled": false,
  "workbench.enableExperiments": false,
  "workbench.welcomePage.walkthroughs.openOnInstall": false,
  "workbench.secondarySideBar.defaultVisibility": "hidden",
  "chat.commandCenter.enabled": false,
  "telemetry.telemetryLevel": "off",
  "update.mode": "none",
  "extensions.autoCheckUpdates": false,
  "extensions.autoUpdate": false,
  "extensions.ignoreRecommendations": true,
  "typescript.disableAutomaticTypeAcquisition": true,
  "git.enabled": false,
};

/** For tests that judge the document: nothing but the suggestion reacts to Tab, nothing saves or closes brackets by itself. */
export const plainTypingSettings = {
  "files.autoSave": "off",
  "editor.minimap.enabled": false,
  "editor.quickSuggestions": { other: "off", comments: "off", strings: "off" },
  "editor.suggestOnTriggerCharacters": false,
  "editor.parameterHints.enabled": false,
  "editor.autoClosingBrackets": "never",
  "editor.autoIndent": "none",
};

const launchOptions = () => {
  const executablePath = chromiumPath();
  return {
    ...(executablePath === undefined ? {} : { executablePath }),
    headless: true,
    timeout: 60_000,
    args: [
      ...(process.getuid?.() === 0 ? ["--no-sandbox"] : []),
      "--disable-gpu",
      "--disable-quic",
      "--disable-dev-shm-usage",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    ],
  };
};

/** A headless Chromium that can reach this machine only. */
export async function openBrowser() {
  await ensure(needs.browser);
  const { chromium } = await import("playwright-core");
  return chromium.launch(launchOptions());
}

/** The same for several processes to share: each connects with {@link connectBrowser}. */
export async function openBrowserServer() {
  await ensure(needs.browser);
  const { chromium } = await import("playwright-core");
  return chromium.launchServer(launchOptions());
}

/** @param {string} address */
export async function connectBrowser(address) {
  const { chromium } = await import("playwright-core");
  return chromium.connect(address);
}

/**
 * @param {import("playwright-core").Browser} browser
 * @param {{ url: string, folder: string, file?: string }} place  `folder` and `file` are absolute paths
 * @returns {Promise<Workbench>}
 */
export async function openWorkbench(browser, { url, folder, file }) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  context.setDefaultTimeout(30_000);
  const page = await context.newPage();
  const query = new URLSearchParams({ folder });
  if (file !== undefined) query.set("payload", JSON.stringify([["openFile", `vscode-remote://${new URL(url).host}${file}`]]));
  await page.goto(`${url}/?${query}`, { waitUntil: "domcontentloaded", timeout: 60_000 });
  await page.locator(".monaco-workbench .part.statusbar .statusbar-item").first().waitFor({ timeout: 60_000 });
  const workbench = new Workbench(page);
  if (file !== undefined) await workbench.editor(file).locator(".view-lines").waitFor({ timeout: 60_000 });
  return workbench;
}

export class Workbench {
  /** @param {Page} page */
  constructor(page) {
    this.page = page;
  }

  /** @param {string} file */
  editor(file) {
    return this.page.locator(`.monaco-editor[data-uri$="/${path.basename(file)}"]`).first();
  }

  /** The extension's item; its label is the accessible description of the state. */
  get statusItem() {
    return this.page.locator('.statusbar-item[id^="pipo.pipo"]').first();
  }

  /** @returns {Promise<string>} */
  async status() {
    const link = this.statusItem.locator("a").first();
    return `${(await this.statusItem.getAttribute("aria-label")) ?? (await link.getAttribute("aria-label")) ?? ""}`;
  }

  /**
   * @param {RegExp} expected
   * @param {number} [limitMs]
   */
  async waitForStatus(expected, limitMs = 60_000) {
    await this.statusItem.waitFor({ timeout: limitMs });
    let last = "";
    try {
      await waitUntil(async () => expected.test((last = await this.status())), limitMs, `status ${expected}`);
    } catch (error) {
      throw new Error(`${error instanceof Error ? error.message : error}; it is "${last}"`);
    }
  }

  /** Puts the cursor at the end of the document. @param {string} file */
  async focusEnd(file) {
    await this.editor(file).locator(".view-lines").first().click();
    await this.page.keyboard.press("Control+End");
  }

  /** @param {string} text @param {number} [delayMs] between two keys */
  async type(text, delayMs = 25) {
    await this.page.keyboard.type(text, { delay: delayMs });
  }

  /** @param {string} key */
  async press(key) {
    await this.page.keyboard.press(key);
  }

  /** The suggestion on the screen: "" when there is none. @param {string} file @returns {Promise<string>} */
  async ghostText(file) {
    const editor = this.editor(file);
    const first = (await editor.locator(".view-lines > .view-line .ghost-text-decoration").allTextContents()).join("");
    const rest = await editor.locator(".view-zones .suggest-preview-text .view-line").evaluateAll(ghostLinesTopDown);
    return plainSpaces([first, ...rest].join("\n"));
  }

  /** Waits for a suggestion and returns it. @param {string} file @param {number} [limitMs] @returns {Promise<string>} */
  waitForGhostText(file, limitMs = 20_000) {
    let before = "";
    // The first line and the others are drawn by different parts of the editor, so one reading may miss either.
    const settled = async () => {
      const now = await this.ghostText(file);
      const isSame = now === before;
      before = now;
      return isSame ? now : "";
    };
    return waitUntil(settled, limitMs, `a suggestion in ${path.basename(file)}`);
  }

  /** Lines of the document that are on the screen, without the suggestion. @param {string} file @returns {Promise<string[]>} */
  async lines(file) {
    const found = await this.editor(file).locator(".view-lines > .view-line").evaluateAll(linesTopDown);
    return found.map(plainSpaces);
  }

  /** Runs a command by its title in the command palette. @param {string} title */
  async runCommand(title) {
    await this.page.keyboard.press("F1");
    const input = this.page.locator(".quick-input-widget input").first();
    await input.waitFor({ state: "visible" });
    await input.fill(`>${title}`);
    const row = this.page.locator(".quick-input-list .monaco-list-row", { hasText: title }).first();
    await row.waitFor();
    await row.click();
  }

  /** Waits until the pick list has an entry with this text. @param {string} text */
  async waitForPick(text) {
    await this.picks.filter({ hasText: text }).first().waitFor();
  }

  /** Entries of the pick list that is open. */
  get picks() {
    return this.page.locator(".quick-input-widget .quick-input-list .monaco-list-row");
  }

  /** Chooses the entry with this text in the pick list that is open. @param {string} text */
  async pick(text) {
    await this.waitForPick(text);
    await this.picks.filter({ hasText: text }).first().click();
  }

  /** What the status bar item shows when the pointer rests on it. */
  async statusHover() {
    await this.statusItem.hover();
    const hover = this.page.locator(".monaco-hover:visible, .workbench-hover:visible").first();
    await hover.waitFor();
    return hover;
  }

  /** Messages that are on the screen. @returns {Promise<string[]>} */
  messages() {
    return this.page.locator(".notifications-toasts .notification-list-item-message").allTextContents();
  }

  /** A button of a message. @param {string} label */
  button(label) {
    return this.page.locator(".notifications-toasts .monaco-button", { hasText: label }).first();
  }

  /** @param {string} file */
  async screenshot(file) {
    await this.page.screenshot({ path: file });
  }

  async close() {
    await this.page.context().close();
  }
}

/** In the page: DOM order is not the order on the screen. @param {Element[]} elements */
function linesTopDown(elements) {
  const top = (/** @type {Element} */ element) => Number.parseFloat(/** @type {any} */ (element).style.top);
  const withoutSuggestion = (/** @type {Element} */ element) => {
    const copy = /** @type {Element} */ (element.cloneNode(true));
    for (const ghost of copy.querySelectorAll("[class*=ghost-text]")) ghost.remove();
    return copy.textContent ?? "";
  };
  return elements.sort((a, b) => top(a) - top(b)).map(withoutSuggestion);
}

/** In the page. @param {Element[]} elements */
function ghostLinesTopDown(elements) {
  const top = (/** @type {Element} */ element) => Number.parseFloat(/** @type {any} */ (element).style.top);
  return elements
    .filter((element) => element.querySelector("[class*=ghost-text]"))
    .sort((a, b) => top(a) - top(b))
    .map((element) => element.textContent ?? "");
}

/** VS Code draws spaces as U+00A0. @param {string} text */
const plainSpaces = (text) => text.replaceAll("\u00a0", " ");
