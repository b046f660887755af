import { mkdirSync, truncateSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import path from "node:path";
import { expect, test } from "vitest";
import { bundledModels } from "../../../server/src/models/bundled.js";
import { catalogue } from "../../../server/src/models/catalogue.js";
import { findModel } from "../../../server/src/models/findModel.js";
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

const nothing = async () => [];

test("models beside the package are found by directory and by name", async () => {
  const root = packageWith("b", "a");
  mkdirSync(path.join(root, "models/not-a-model"));
  expect((await bundledModels(root)).map((m) => [m.name, m.version])).toEqual([
    ["a-model", "1"],
    ["b-model", "1"],
  ]);
  expect(await findModel(undefined, { cwd: "/", root: root, discover: nothing })).toBe(path.join(root, "models/a"));
  expect(await findModel("", { cwd: "/", root: root, discover: nothing })).toBe(path.join(root, "models/a"));
  expect(await findModel("b-model", { cwd: "/", root: root, discover: nothing })).toBe(path.join(root, "models/b"));
});

test("anything else is a path", async () => {
  const root = packageWith("a");
  expect(await findModel("other/dir", { cwd: "/base", root: root, discover: nothing })).toBe(path.resolve("/base/other/dir"));
  expect(await findModel("/abs", { cwd: "/base", root: root, discover: nothing })).toBe(path.resolve("/abs"));
  expect(await findModel("~/models/x", { cwd: "/base", root: root, discover: nothing })).toBe(path.join(homedir(), "models/x"));
});

test("a name of the catalogue is the file that was downloaded, and before that a word about how to get it", async () => {
  const [root, folder] = [packageWith("a"), temporaryDirectory()];
  const entry = catalogue.find(({ isHidden }) => isHidden)!;
  const find = () => findModel(entry.name, { root, folder, discover: nothing });
  await expect(find()).rejects.toMatchObject({ code: "io", message: expect.stringMatching(/not on this machine yet.*pipo pull smollm2-135m/) });
  const file = path.join(folder, entry.file);
  writeFileSync(file, "GGUF");
  await expect(find()).rejects.toThrow(/not on this machine yet/);
  truncateSync(file, entry.bytes);
  expect(await find()).toBe(file);
});

test("the name under which another program keeps a model is that file", async () => {
  const root = packageWith("a");
  const discover = async () => [{ name: "qwen2.5-coder:1.5b", path: "/blobs/sha256-1", bytes: 1, program: "Ollama" as const }];
  expect(await findModel("qwen2.5-coder:1.5b", { root, discover })).toBe("/blobs/sha256-1");
  expect(await findModel("other:1b", { cwd: "/base", root, discover })).toBe(path.resolve("/base/other:1b"));
  expect(await findModel("C:\\models", { cwd: "/base", root, discover })).toBe(path.resolve("/base", "C:\\models"));
});

test("without a bundled model the message says so", async () => {
  await expect(findModel(undefined, { cwd: "/", root: packageWith(), discover: nothing })).rejects.toMatchObject({
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
