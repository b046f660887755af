import { readFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { codeOf, root, type Source, sourcesIn, violations } from "./sources.js";

const typescript = [...sourcesIn("server", [".ts"]), ...sourcesIn("extension/src", [".ts"])];
const cpp = [...sourcesIn("native/src", [".cpp", ".h"]), ...sourcesIn("native/include", [".h"]), ...sourcesIn("kernels", [".cpp", ".h", ".cu", ".cuh"])];

/** Programs, which may end themselves and print. Everything else is library code. */
const programs = ["server/src/main.ts", "server/src/cli/"];
/** The one place that asks the network for anything: models that the user wants to have. */
const networkPlace = "server/src/models/download/";
/** The places where the environment is read. */
const environmentPlaces = ["server/src/environment.ts", "kernels/registry.cpp"];

const startsWithAny = (file: string, places: readonly string[]) => places.some((place) => file.startsWith(place));
const uses = (pattern: RegExp) => (source: Source) => codeOf(source.text).match(pattern) ?? [];
const check = (sources: readonly Source[], pattern: RegExp, exempt: readonly string[] = []) =>
  expect(violations(sources, uses(pattern), (_use, file) => !startsWithAny(file, exempt))).toEqual([]);

describe("library code", () => {
  it("is searched without its comments and texts", () => {
    const text = `// process.exit(1)\n/* console.log */ const a = "exit(1)"; process.exit(2);`;
    expect(codeOf(text)).not.toMatch(/console|exit\(1\)/);
    expect(violations([{ path: "server/src/x.ts", text }], uses(/\bprocess\.exit\b/g), () => true)).toHaveLength(1);
  });

  it("never ends the process", () => {
    check(typescript, /\bprocess\.(?:exit|abort|kill)\b/g, programs);
    check(cpp, /\b(?:std::)?(?:_?exit|abort|quick_exit|terminate)\s*\(/g);
  });

  it("never prints", () => {
    check(typescript, /(?<!\.)\bconsole\.\w+|\bprocess\.(?:stdout|stderr)\b/g, programs);
    check(cpp, /\b(?:std::)?(?:printf|fprintf|puts|putchar|fputs|perror|cout|cerr|clog)\b/g);
  });

  it("reads the environment in its one named place only", () => {
    check(typescript, /\bprocess\.env\b/g, environmentPlaces);
    check(cpp, /\b(?:std::|secure_)?getenv\b/g, environmentPlaces);
    for (const place of environmentPlaces) {
      expect(readFileSync(path.join(root, place), "utf8")).toMatch(/process\.env|getenv/);
    }
  });

  it("asks no network, but for downloads of models", () => {
    check(typescript, /\bfetch\s*\(|\bXMLHttpRequest\b|\bWebSocket\b/g, [networkPlace]);
    const network = /(?:from |import\()"(?:(?:node:)?(?:https?|http2|net|tls|dgram|dns)(?:\/[a-z]+)?|undici|@huggingface\/hub)"/;
    const uses = typescript.filter(({ text }) => network.test(text)).map(({ path: file }) => file);
    expect(uses.filter((file) => !file.startsWith(networkPlace) && !file.startsWith("server/src/http/"))).toEqual([]);
    expect(uses.length).toBeGreaterThan(0);
  });

  it("loads what asks the network only when a model is wanted", () => {
    const outside = typescript.filter(({ path: file }) => !file.startsWith(networkPlace));
    const atStart = /^import (?!type )[^;]*from "[^"]*\/download\/[^"]*"/gm;
    expect(violations(outside, ({ text }) => text.match(atStart) ?? [], () => true)).toEqual([]);
    expect(outside.filter(({ text }) => /await import\("[^"]*\/download\/download\.js"\)/.test(text)).length).toBeGreaterThan(0);
  });

  it("says no `any`", () => check(typescript, /(?::|<|\bas)\s*any\b/g));
});

describe("the repository", () => {
  const texts = [".ts", ".mts", ".mjs", ".js", ".json", ".cpp", ".h", ".cu", ".py", ".md", ".txt", ".toml", ".sh", ".cmake", ".yml"];
  const folders = ["extension", "scripts", "server", "native", "kernels", "training", "test"];
  const files = folders.flatMap((folder) => sourcesIn(folder, texts)).filter(({ path: file }) => !file.startsWith("test/architecture/"));

  it("names no directory of one machine", () => {
    const places = /(?<![\w.~/-])\/(?:work|opt|srv|root|home\/(?!me\b|user\b|you\b)\w+)\/[\w.-]+/g;
    expect(["", "home", "somebody", "project"].join("/").match(places)).toHaveLength(1);
    expect(violations(files, ({ text }) => text.match(places) ?? [], () => true)).toEqual([]);
  });

  it("names no package registry", () => {
    const hosts = /\b(?:registry\.(?:npmjs|yarnpkg)|pypi|pythonhosted|npmmirror|deb\.debian|archive\.ubuntu)\.(?:org|com)\b/g;
    const lockFile = { path: "package-lock.json", text: readFileSync(path.join(root, "package-lock.json"), "utf8") };
    expect(["pypi", "org"].join(".").match(hosts)).toHaveLength(1);
    expect(violations([...files, lockFile], ({ text }) => text.match(hosts) ?? [], () => true)).toEqual([]);
  });
});
