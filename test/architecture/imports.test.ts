import { describe, expect, it } from "vitest";
import { importsOf, type Source, sourcesIn, violations } from "./sources.js";

const server = sourcesIn("server", [".ts"]);
const extension = sourcesIn("extension/src", [".ts"]);
const all = [...server, ...extension];
const check = (sources: readonly Source[], breaks: (imported: string, file: string) => boolean) =>
  expect(violations(sources, importsOf, breaks)).toEqual([]);

const isPackage = (imported: string, name: string) => imported === name || imported.startsWith(`${name}/`);
const within = (place: string, ...folders: readonly string[]) =>
  folders.some((folder) => place === folder || place.startsWith(`${folder}/`));

/** Files of the server that may know the protocol's library. */
const protocolGlue = ["server/src/handlers", "server/src/server.ts", "server/src/main.ts"];

/** What each part of the server may import of the server; parts that are not named are checked by other rules. */
const allowed: Readonly<Record<string, readonly string[]>> = {
  "server/src/log": [],
  "server/src/plainText": [],
  "server/src/ownText": [],
  "server/src/environment": [],
  "server/src/packageRoot": [],
  "server/src/modelError": ["server/src/engine/addon"],
  "server/src/files": ["server/src/modelError", "server/src/plainText"],
  "server/src/config": ["server/protocol"],
  "server/src/tokenizer": ["server/src/files", "server/src/modelError", "server/src/plainText"],
  "server/src/checkpoints": [
    "server/src/engine/addon",
    "server/src/files",
    "server/src/modelError",
    "server/src/plainText",
    "server/src/tokenizer",
  ],
  "server/src/engine": [
    "server/src/checkpoints",
    "server/src/files",
    "server/src/log",
    "server/src/modelError",
    "server/src/packageRoot",
    "server/src/tokenizer",
  ],
  "server/src/prompt": ["server/src/ownText", "server/src/plainText", "server/src/tokenizer"],
  "server/src/document": [],
  "server/src/postprocess": ["server/src/document"],
  "server/src/models": [
    "server/protocol",
    "server/src/checkpoints",
    "server/src/engine",
    "server/src/environment",
    "server/src/files",
    "server/src/log",
    "server/src/modelError",
    "server/src/packageRoot",
    "server/src/plainText",
  ],
  "server/src/completion": [
    "server/protocol",
    "server/src/config",
    "server/src/context",
    "server/src/document",
    "server/src/engine/engine",
    "server/src/engine/addon",
    "server/src/files",
    "server/src/log",
    "server/src/models",
    "server/src/ownText",
    "server/src/plainText",
    "server/src/postprocess",
    "server/src/prompt",
  ],
  "server/src/handlers": [
    "server/protocol",
    "server/src/completion",
    "server/src/config",
    "server/src/document",
    "server/src/files",
    "server/src/log",
    "server/src/models",
    "server/src/plainText",
  ],
};

describe("imports", () => {
  it("are found in every way they can be written", () => {
    const text = `import a from "a";\nimport "b";\nexport * from './c.js';\nconst d = await import("d/e");\nrequire("f");\nimport type { G } from "../g.js";`;
    expect(importsOf({ path: "server/src/x/y.ts", text })).toEqual(["a", "b", "server/src/x/c", "d/e", "f", "server/src/g"]);
    expect(violations([{ path: "p", text }], importsOf, (imported) => imported === "f")).toEqual(["p: f"]);
    expect(all.length).toBeGreaterThan(50);
  });

  it("of vscode and its language client are in extension/ only", () => {
    check(server, (imported) => isPackage(imported, "vscode") || isPackage(imported, "vscode-languageclient"));
  });

  it("of the protocol's library are in the glue of the server only", () => {
    const isProtocol = (imported: string) => /^vscode-(?:languageserver|jsonrpc)/.test(imported);
    check(server, (imported, file) => isProtocol(imported) && !within(file, ...protocolGlue));
    expect(server.filter((source) => importsOf(source).some(isProtocol)).length).toBeGreaterThan(2);
  });

  it("of server/protocol stay within it: it is shared by two programs", () => {
    const protocol = sourcesIn("server/protocol", [".ts"]);
    expect(protocol.length).toBeGreaterThan(1);
    check(protocol, (imported) => !within(imported, "server/protocol"));
  });

  it("of the extension reach nothing of the server but its protocol", () => {
    check(extension, (imported) => imported.startsWith("server/") && !within(imported, "server/protocol"));
  });

  it("of the server reach nothing of the extension", () => check(server, (imported) => imported.startsWith("extension/")));

  it("of handlers are in server.ts only", () => {
    check(server, (imported, file) => within(imported, "server/src/handlers") && !within(file, "server/src/handlers", "server/src/server.ts"));
  });

  it.each(Object.entries(allowed))("of %s keep the direction of dependencies", (part, others) => {
    const sources = server.filter(({ path }) => within(path.replace(/\.ts$/, ""), part));
    expect(sources.length).toBeGreaterThan(0);
    check(sources, (imported) => imported.startsWith("server/") && !within(imported, part, ...others));
  });

  it("of the module that loads the addon are in server/src/engine, and in the benchmark and command line that measure it", () => {
    check(server, (imported, file) => within(imported, "server/src/engine/load") && !within(file, "server/src/engine", "server/src/bench", "server/src/cli"));
    const opening = server.filter(({ path, text }) => /createRequire|process\.dlopen/.test(text) && !within(path, "server/src/engine", "server/src/bench"));
    expect(opening.map(({ path }) => path)).toEqual([]);
  });

  it("of the addon's contract bring types only", () => {
    const values = server.filter(({ text }) => /import\s+(?!type\b)\{(?![^}]*\btype\b[^}]*\})[^}]*\}\s*from\s*"[^"]*\/addon(?:\.js)?"/.test(text));
    expect(values.map(({ path }) => path)).toEqual([]);
  });

  it("have no default exports", () => {
    expect(all.filter(({ text }) => /^export default\b/m.test(text)).map(({ path }) => path)).toEqual([]);
  });
});
