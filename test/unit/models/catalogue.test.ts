import { mkdirSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import path from "node:path";
import { expect, test } from "vitest";
import { bundledModels, findModel } from "../../../server/src/models/catalogue.js";
import { packageRoot } from "../../../server/src/packageRoot.js";
import { temporaryDirectory } from "../../support/modelFiles.js";

function packageWith(...names: string[]): string {
  const root = temporaryDirectory();
  for (const name of names) {
    const directory = path.join(root, "models", name);
    mkdirSync(directory, { recursive: true });
    writeFileSync(path.join(directory, "pipo.json"), JSON.stringify({ name: `${name}-model`, version: "1" }));
  }
  return root;
}

test("models beside the package are found by directory and by name", async () => {
  const root = packageWith("b", "a");
  mkdirSync(path.join(root, "models/not-a-model"));
  expect((await bundledModels(root)).map((m) => [m.name, m.version])).toEqual([
    ["a-model", "1"],
    ["b-model", "1"],
  ]);
  expect(await findModel(undefined, "/", root)).toBe(path.join(root, "models/a"));
  expect(await findModel("", "/", root)).toBe(path.join(root, "models/a"));
  expect(await findModel("b-model", "/", root)).toBe(path.join(root, "models/b"));
});

test("anything else is a path", async () => {
  const root = packageWith("a");
  expect(await findModel("other/dir", "/base", root)).toBe(path.resolve("/base/other/dir"));
  expect(await findModel("/abs", "/base", root)).toBe(path.resolve("/abs"));
  expect(await findModel("~/models/x", "/base", root)).toBe(path.join(homedir(), "models/x"));
});

test("without a bundled model the message says so", async () => {
  await expect(findModel(undefined, "/", packageWith())).rejects.toMatchObject({
    code: "io",
    message: expect.stringContaining("No model is bundled"),
  });
});

test("a damaged card is named", async () => {
  const root = packageWith("a");
  writeFileSync(path.join(root, "models/a/pipo.json"), '{"name": 3}');
  await expect(bundledModels(root)).rejects.toMatchObject({
    code: "badFile",
    message: expect.stringMatching(/pipo\.json: name/),
  });
});

test("the package is found from inside", () => {
  expect(packageRoot()).toBe(path.resolve(import.meta.dirname, "../../.."));
  expect(() => packageRoot(temporaryDirectory())).toThrow(/No package\.json of pipo/);
});
