import { mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { realPathOf } from "../../server/src/realPath.js";

let folder: string;
beforeAll(() => {
  folder = realpathSync(mkdtempSync(path.join(tmpdir(), "pipo-links-")));
  writeFileSync(path.join(folder, "secret.key"), "");
  symlinkSync(path.join(folder, "secret.key"), path.join(folder, "notes.txt"));
  symlinkSync(path.join(folder, "nowhere"), path.join(folder, "broken.txt"));
  symlinkSync(path.join(folder, "round.txt"), path.join(folder, "round.txt"));
});
afterAll(() => rmSync(folder, { recursive: true }));

describe("where a document's link leads", () => {
  const of = (name: string) => realPathOf(pathToFileURL(path.join(folder, name)).href);

  it("is the file itself, under its own name", async () => {
    expect(await of("notes.txt")).toBe(path.join(folder, "secret.key"));
    expect(await of("secret.key")).toBe(path.join(folder, "secret.key"));
  });

  it("is not told for what leads nowhere, round in circles, or is no file", async () => {
    for (const name of ["broken.txt", "round.txt", "missing.txt"]) expect(await of(name)).toBeUndefined();
    for (const uri of ["untitled:Untitled-1", "vscode-vfs://github/a.py", "no uri"]) expect(await realPathOf(uri)).toBeUndefined();
  });
});
