import { describe, expect, test } from "vitest";
import { waitUntil } from "../../scripts/codeServer.mjs";
import { inWindow, showEverything } from "../support/vscodeWindow";

const typescriptFile = `export interface Point {
  readonly x: number;
  readonly y: number;
}

export function add(a: Point, b: Point): Point {
  return { x: a.x + b.x, y: a.y + b.y };
}

`;

const pythonFile = `class Inventory:
    def __init__(self):
        self.items = {}

    def add(self, name, item):
        self.items[name] = item

`;

const typescriptAttempts = ["export function subtract(a: Point", ", b: Point)", ": Point {\n  return { x: a.x - b.x, y:", " a.y"];
// As a person types with VS Code's own settings: the editor indents, and closes brackets that are typed over.
const pythonAttempts = ["    def remove(self", ", name):", "\n", "del self", ".items["];

describe("suggestions in VS Code", () => {
  test("typed code gets grey text, Tab accepts it, and the saved file has exactly that", async () => {
    await inWindow({ files: { "points.ts": typescriptFile } }, async (window) => {
      await window.ready();
      await window.workbench.focusEnd(window.file);
      const { typed, suggested } = await window.typeUntilSuggested(typescriptAttempts);
      await window.screenshot("suggestion-typescript");
      expect(suggested).not.toMatch(/<\|/);
      await window.workbench.press("Tab");
      await window.expectSaved(typescriptFile + typed, suggested);
      await window.screenshot("accepted-typescript");
    });
  });

  test("Python, with VS Code's own editor settings", async () => {
    await inWindow({ files: { "inventory.py": pythonFile }, settings: showEverything, defaultEditor: true }, async (window) => {
      await window.ready();
      await window.workbench.focusEnd(window.file);
      const { suggested } = await window.typeUntilSuggested(pythonAttempts);
      await window.screenshot("suggestion-python-default-settings");
      expect(suggested.trim()).not.toBe("");
      await window.workbench.press("Escape");
    });
  });

  test("a block is suggested over several lines and accepted whole", async () => {
    const settings = { ...showEverything, "pipo.completion.timeLimitMs": 5_000 };
    await inWindow({ files: { "inventory.py": pythonFile }, settings }, async (window) => {
      await window.ready();
      await window.workbench.focusEnd(window.file);
      const typed = "    def remove(self, name):";
      await window.type(typed);
      const suggested = await window.waitForGhostText();
      await window.screenshot("suggestion-block");
      expect(suggested.split("\n").length).toBeGreaterThan(1);
      await window.workbench.press("Tab");
      await window.expectSaved(pythonFile + typed, suggested);
    });
  });

  test("typing on withdraws the older request, and only text for the newest position is shown", async () => {
    await inWindow({ files: { "points.ts": typescriptFile }, settings: showEverything }, async (window) => {
      await window.ready();
      await window.workbench.focusEnd(window.file);
      const typed = "export function distance(a: Point, b: Point): number {\n  return Math.sqrt(";
      // Slower than VS Code's own wait, so that every key makes a request. The server stands still meanwhile, as on a
      // machine that is busy: it would otherwise answer between two keys.
      const server = await window.serverProcess();
      process.kill(server, "SIGSTOP");
      try {
        await window.type(typed, 70);
      } finally {
        process.kill(server, "SIGCONT");
      }
      const suggested = await window.waitForGhostText();
      await window.workbench.press("Tab");
      await window.expectSaved(typescriptFile + typed, suggested);
      expect((await window.numbers()).withdrawn).toBeGreaterThan(0);
    });
  });

  test("Escape hides the suggestion and leaves the text alone", async () => {
    await inWindow({ files: { "points.ts": typescriptFile }, settings: showEverything }, async (window) => {
      await window.ready();
      await window.workbench.focusEnd(window.file);
      const { typed } = await window.typeUntilSuggested(typescriptAttempts);
      await window.workbench.press("Escape");
      await waitUntil(async () => (await window.ghostText()) === "", 5_000, "the suggestion to go");
      await window.expectSaved(typescriptFile + typed);
    });
  });
});
