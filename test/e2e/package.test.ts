import { existsSync, readdirSync, statSync } from "node:fs";
import path from "node:path";
import { expect, inject, test } from "vitest";

/** The build makes it where there is nvcc. */
const builtCudaLibrary = path.resolve(import.meta.dirname, "../../dist/libpipo_cuda.so");

function installedFiles(): readonly string[] {
  const extensions = path.join(path.dirname(inject("vscode").userData), "extensions");
  const installed = readdirSync(extensions).find((name) => name.startsWith("pipo.pipo-"));
  if (installed === undefined) throw new Error(`not installed in ${extensions}`);
  const folder = path.join(extensions, installed);
  return readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) => statSync(path.join(folder, name)).isFile());
}

test("the package stays small enough to download", () => {
  expect(statSync(inject("vsix")).size).toBeLessThan(60e6);
});

test("what VS Code installed is the product and nothing else", () => {
  const files = installedFiles();
  const outsideModels = files.filter((name) => !name.startsWith("models/"));
  expect(new Set(outsideModels.map((name) => name.toLowerCase()))).toEqual(
    new Set([
      ".vsixmanifest",
      "package.json",
      "package.nls.json",
      "readme.md",
      "changelog.md",
      "license.txt",
      "dist/extension.js",
      "dist/server.js",
      "dist/cli.js",
      "dist/pipo_engine.node",
      ...(existsSync(builtCudaLibrary) ? ["dist/libpipo_cuda.so"] : []),
      "dist/third-party-notices.txt",
      "extension/media/icon.png",
    ]),
  );
  expect(files.filter((name) => /^models\/[^/]+\/.*\.safetensors$/.test(name)).length).toBeGreaterThan(0);
});
