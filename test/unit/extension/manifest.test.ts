import { readFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";

const root = path.resolve(__dirname, "../../..");
const text = readFileSync(path.join(root, "package.json"), "utf8");
const manifest = JSON.parse(text);
const translations: Record<string, string> = JSON.parse(readFileSync(path.join(root, "package.nls.json"), "utf8"));

describe("manifest", () => {
  test("every text exists, and none is left over", () => {
    const used = [...text.matchAll(/"%([\w.]+)%"/g)].map((found) => found[1]);
    expect(new Set(used)).toEqual(new Set(Object.keys(translations)));
  });

  test("every command of the manifest is registered", () => {
    const table = readFileSync(path.join(root, "extension/src/commands.ts"), "utf8");
    const registered = [...table.matchAll(/^ {2}"(pipo\.\w+)":/gm)].map((found) => found[1]);
    const contributed = manifest.contributes.commands.map(({ command }: { command: string }) => command);
    expect(registered).toEqual(expect.arrayContaining(contributed));
  });

  test("no key is taken from the user", () => {
    expect(manifest.contributes.keybindings ?? []).toEqual([]);
  });

  test("a folder that is not trusted cannot choose the model or the engine's settings", () => {
    const settings = manifest.contributes.configuration.flatMap(({ properties }: { properties: object }) => Object.keys(properties));
    const risky = settings.filter((name: string) => /^pipo\.(model|engine)\./.test(name));
    expect(manifest.capabilities.untrustedWorkspaces.supported).toBe("limited");
    expect(manifest.capabilities.untrustedWorkspaces.restrictedConfigurations).toEqual(risky);
  });

  test("development packages are named with exact versions", () => {
    for (const version of Object.values(manifest.devDependencies)) expect(version).toMatch(/^\d+\.\d+\.\d+$/);
  });
});
