import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";

const root = path.resolve(__dirname, "../../..");
const readme = readFileSync(path.join(root, "README.md"), "utf8");
const manifest = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8"));

/** Made by a build, so not in the repository. */
const generated = /^dist\//;

describe("README", () => {
  test("every path that it names exists", () => {
    const inTables = [...readme.matchAll(/`((?:extension|server|native|kernels|training|models|test|dist)\/[\w./-]*)`/g)];
    const inTree = [...readme.matchAll(/^((?:extension|server|native|kernels|training|models|test)\/\S*) /gm)];
    const named = [...inTables, ...inTree].map((found) => found[1] ?? "").filter((name) => !generated.test(name));
    expect(named.length).toBeGreaterThan(20);
    expect(named.filter((name) => !existsSync(path.join(root, name)))).toEqual([]);
  });

  test("every setting is explained with its default", () => {
    const settings: Record<string, { default: unknown }> = Object.assign(
      {},
      ...manifest.contributes.configuration.map(({ properties }: { properties: object }) => properties),
    );
    for (const [name, { default: value }] of Object.entries(settings)) {
      const row = readme.split("\n").find((line) => line.startsWith(`| \`${name}\` |`));
      expect(row, name).toBeDefined();
      if (!Array.isArray(value) && value !== "") expect(row).toContain(`| \`${String(value)}\` |`);
    }
  });

  test("every script that it names exists", () => {
    const named = [...readme.matchAll(/npm run (\w+(?::\w+)?)/g)].map((found) => found[1] ?? "");
    expect(named.filter((name) => !(name in manifest.scripts))).toEqual([]);
  });
});
