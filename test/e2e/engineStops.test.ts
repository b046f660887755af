import { describe, expect, test } from "vitest";
import { waitUntil } from "../../scripts/codeServer.mjs";
import { inWindow, showEverything, type VSCodeWindow } from "../support/vscodeWindow";

const text = `export function add(a: number, b: number): number {
  return a + b;
}

`;

const attempts = ["export function subtract(a: number", ", b: number)", ": number {\n  return a"];

async function kill(window: VSCodeWindow): Promise<void> {
  process.kill(await window.serverProcess(), "SIGKILL");
}

describe("the engine's process is killed", () => {
  test("it starts again by itself, the document is untouched, suggestions come again, nobody is disturbed", async () => {
    await inWindow({ files: { "sums.ts": text }, settings: showEverything }, async (window) => {
      await window.ready();
      await window.workbench.focusEnd(window.file);
      await window.type("// unsaved");
      await kill(window);
      await window.workbench.waitForStatus(/starts again|Starting|Loading/, 10_000);
      await window.ready();
      expect((await window.workbench.lines(window.file)).at(-1)).toBe("// unsaved");
      await window.type("\n");
      const { typed, suggested } = await window.typeUntilSuggested(attempts);
      expect(await window.workbench.messages()).toEqual([]);
      await window.workbench.press("Tab");
      await window.expectSaved(`${text}// unsaved\n${typed}`, suggested);
    });
  });

  test("after too many times in a row there is one message, and its button starts the engine again", async () => {
    await inWindow({ files: { "sums.ts": text }, settings: showEverything }, async (window) => {
      await window.ready();
      for (let stops = 1; stops <= 5; stops += 1) {
        await kill(window);
        await window.workbench.waitForStatus(stops < 5 ? /starts again/ : /stopped 5 times/, 10_000);
        if (stops < 5) await window.ready();
      }
      await window.workbench.button("Restart").waitFor();
      await window.screenshot("engine-stopped");
      expect(await window.workbench.messages()).toHaveLength(1);
      await window.workbench.button("Restart").click();
      await window.ready();
      await waitUntil(async () => (await window.workbench.messages()).length === 0, 10_000, "the message to go");
    });
  });
});
