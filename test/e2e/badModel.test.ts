import { rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";
import { inWindow } from "../support/vscodeWindow";

test("a model that cannot be loaded is told once, with something to do, and mending the setting is enough", async () => {
  const settings = { "pipo.model.path": "/no/such/model" };
  await inWindow({ files: { "sums.ts": "export const one = 1;\n" }, settings }, async (window) => {
    await window.workbench.waitForStatus(/model/i);
    await window.workbench.button("Show Log").waitFor();
    await window.screenshot("bad-model");
    expect(await window.workbench.messages()).toHaveLength(1);
    await window.workbench.focusEnd(window.file);
    await window.type("export const two");
    expect(await window.workbench.messages()).toHaveLength(1);
    rmSync(path.join(window.folder, ".vscode/settings.json"));
    writeFileSync(path.join(window.folder, ".vscode/settings.json"), "{}");
    await window.ready();
  });
});
