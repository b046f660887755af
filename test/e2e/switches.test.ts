import { describe, expect, test } from "vitest";
import { inWindow, showEverything } from "../support/vscodeWindow";

const typescriptFile = `export function add(a: number, b: number): number {
  return a + b;
}

`;
const pythonFile = `def add(a, b):
    return a + b


`;
const attempts = ["export function subtract(a: number", ", b: number)", ": number {\n  return a"];

/** Long enough for an answer that should not come. */
const silenceMs = 3_000;

describe("switches", () => {
  test("the toggle command silences suggestions and brings them back", async () => {
    await inWindow({ files: { "sums.ts": typescriptFile }, settings: showEverything }, async (window) => {
      await window.ready();
      await window.workbench.runCommand("PIPO: Switch On or Off");
      await window.workbench.waitForStatus(/Switched off/);
      await window.workbench.focusEnd(window.file);
      for (const attempt of attempts) await window.type(attempt);
      await new Promise((resolve) => setTimeout(resolve, silenceMs));
      expect(await window.ghostText()).toBe("");
      await window.screenshot("switched-off");
      await window.workbench.runCommand("PIPO: Switch On or Off");
      await window.ready();
      await window.workbench.focusEnd(window.file);
      await window.typeUntilSuggested([" - b;\n}\n\nexport function multiply(a: number", ", b: number)", ": number {\n  return a"]);
    });
  });

  test("a language can be switched off in its own settings block while others go on", async () => {
    const settings = { ...showEverything, "[python]": { "pipo.completion.enabled": false } };
    await inWindow({ files: { "sums.py": pythonFile, "sums.ts": typescriptFile }, settings }, async (window) => {
      await window.workbench.waitForStatus(/Switched off/);
      await window.workbench.focusEnd(window.file);
      await window.type("def subtract(a, b):\n    return a");
      await new Promise((resolve) => setTimeout(resolve, silenceMs));
      expect(await window.ghostText()).toBe("");
      const other = await window.openFile("sums.ts");
      await other.ready();
      await other.workbench.focusEnd(other.file);
      await other.typeUntilSuggested(attempts);
    });
  });

  test("a file of secrets gets nothing, and the status says why", async () => {
    await inWindow({ files: { ".env": "API_KEY=abc\n", "sums.ts": typescriptFile } }, async (window) => {
      await window.ready();
      await window.workbench.focusEnd(window.file);
      await window.type("API_SECRET=");
      await window.workbench.waitForStatus(/pattern|excluded|\.env/i);
      expect(await window.ghostText()).toBe("");
    });
  });
});
