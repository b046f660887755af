import { homedir } from "node:os";
import { describe, expect, it } from "vitest";
import { ExcludedFiles } from "../../../server/src/completion/excludedFiles.js";
import { parseGlob } from "../../../server/src/completion/glob.js";
import { defaultExclude } from "../../../server/src/config/schema.js";
import { silentLogger } from "../../../server/src/log.js";
import { ServiceUnderTest } from "../../support/completion.js";

const project = "file:///home/me/app";

async function excluded(pattern: string, uri: string, folder: string | undefined = project): Promise<boolean> {
  const files = new ExcludedFiles(silentLogger);
  files.setWorkspaceFolders(folder === undefined ? [] : [folder]);
  return (await files.matchingPattern(uri, [pattern])) !== undefined;
}

describe("a glob", () => {
  const matches = (pattern: string, path: string) => {
    const glob = parseGlob(pattern);
    return "problem" in glob ? glob.problem : glob.matches(path.split("/"));
  };

  it.each([
    ["a.py", "a.py", true],
    ["a.py", "b.py", false],
    ["*.py", "a.py", true],
    ["*.py", ".py", true],
    ["*.py", "x/a.py", false],
    ["**/*.py", "a.py", true],
    ["**/*.py", "x/y/a.py", true],
    ["x/**/z", "x/z", true],
    ["x/**/z", "x/y/y/z", true],
    ["x/**/z", "w/y/z", false],
    ["**/a/**/b/**/c", "1/a/2/b/3/a/4/b/c", true],
    ["a?c", "abc", true],
    ["a?c", "ac", false],
    ["[a-c]x", "bx", true],
    ["[!a-c]x", "bx", false],
    ["[!a-c]x", "dx", true],
    ["[x", "[x", true],
    ["*a*b*c*", "xaxbxcx", true],
    ["*a*b*c*", "xaxcxbx", false],
    ["*.{ts,js}", "a.js", true],
    ["*.{ts,js}", "a.jsx", false],
    ["{a,b/{c,d}}", "b/d", true],
    ["{a", "{a", true],
    ["A.PY", "a.py", true],
    ["(a+)+b", "aaab", false],
    ["(a+)+b", "(a+)+b", true],
    ["folder", "folder/below/a.py", true],
    ["😀?", "😀😀", true],
    ["a", "a\nb", false],
    ["*b", "a\nb", true],
  ])("%s and %s: %s", (pattern, path, expected) => expect(matches(pattern, path)).toBe(expected));

  it("takes its time in proportion, whatever the pattern", () => {
    const startedAt = performance.now();
    const name = `${"a".repeat(4_000)}c`;
    expect(matches(`**/${"*a".repeat(300)}*b`, `x/${name}`)).toBe(false);
    expect(matches("**/(a+)+b", `x/${name}`)).toBe(false);
    expect(matches(`${"**/a/".repeat(150)}b`, "a/".repeat(3_000))).toBe(false);
    expect(performance.now() - startedAt).toBeLessThan(2_000);
  });

  it.each([
    ["x".repeat(1_001), /more than 1000 characters/],
    ["{a,b}".repeat(7), /more than 64 patterns/],
    ["/", /names nothing/],
  ])("says what is wrong with %.20s", (pattern, problem) => expect(matches(pattern, "x")).toMatch(problem));
});

describe("a pattern as people write it", () => {
  it.each([
    ["private/**", `${project}/private/a.py`, true],
    ["./private/**", `${project}/private/a.py`, true],
    ["private/**", `${project}/lib/private/a.py`, false],
    ["private", `${project}/lib/private/a.py`, true],
    ["private/", `${project}/private/a.py`, true],
    ["**/private", `${project}/private/a.py`, true],
    ["**/private/", `${project}/private/a.py`, true],
    ["/private", `${project}/private/a.py`, true],
    ["home/**", `${project}/a.py`, false],
    ["D:\\app\\private\\**", "file:///d%3A/app/private/a.py", true],
    ["private\\*.py", `${project}/private/a.py`, true],
    [`~/private/**`, `file://${homedir()}/private/a.py`, true],
    ["  **/*.py\t", `${project}/a.py`, true],
    ["!**/*.py", `${project}/a.ts`, false],
    ["!**/*.py", `${project}/a.py`, false],
    ["**", `${project}/a.py`, true],
  ])("%s and %s: %s", async (pattern, uri, expected) => expect(await excluded(pattern, uri)).toBe(expected));

  it("with a slash is not about the folders above the workspace", async () => {
    expect(await excluded("build/**", "file:///home/me/build/app/a.py", "file:///home/me/build/app")).toBe(false);
  });

  it("with a slash may lie anywhere where no folder is open", async () => {
    expect(await excluded("private/**", "file:///x/y/private/a.py", "")).toBe(true);
  });

  it("is about a folder of the workspace that is one itself", async () => {
    expect(await excluded("**/.ssh/**", "file:///home/me/.ssh/config", "file:///home/me/.ssh")).toBe(true);
  });

  it("that means nothing costs only itself and is named once", async () => {
    const warnings: string[] = [];
    const files = new ExcludedFiles({ ...silentLogger, warn: (message) => void warnings.push(message) });
    const patterns = ["/", "", "!x", "a".repeat(70_000), "**/*.py"];
    expect(await files.matchingPattern("file:///a.py", patterns)).toBe("**/*.py");
    expect(await files.matchingPattern("file:///a.ts", [...patterns])).toBeUndefined();
    expect(warnings).toHaveLength(4);
    expect(warnings.join("\n")).toMatch(/"!x" excludes nothing, because exceptions \(!\)/);
    expect(Math.max(...warnings.map(({ length }) => length))).toBeLessThan(300);
  });
});

describe("a file is excluded", () => {
  it.each([
    "file:///p/.env?x=1",
    "file:///p/.env#L1",
    "gitlens://x/p/.env?ref",
    "vscode-notebook-cell:/p/.env#W0",
    "C:\\p\\.env",
    "file:///p/a/../.env",
    "file:///p/./.env",
    "file:///p//.env",
    "file:///p/%2Eenv",
    "file:///p/a%0Ab/.env",
    "file:///p/.ENV",
  ])("under the name %s", async (uri) => {
    const test = new ServiceUnderTest(() => "1");
    expect(await test.text("TOKEN=█", { uri, invoked: true })).toBe("(excludedFile)");
    expect(test.model.prompts).toEqual([]);
  });

  it("through a link of another name", async () => {
    const files = new ExcludedFiles(silentLogger, async (uri) => (uri.endsWith("notes.txt") ? "/home/me/.ssh/config" : undefined));
    expect(await files.matchingPattern("file:///home/me/notes.txt", defaultExclude)).toBe("**/.ssh/**");
    expect(await files.matchingPattern("file:///home/me/other.txt", defaultExclude)).toBeUndefined();
  });
});

describe("by default", () => {
  it.each(
    `.env .env.local prod.env .envrc .flaskenv .Renviron server.key tls.pem app.p12 login.ppk _netrc .netrc .npmrc .pypirc .pgpass
    .htpasswd .docker/config.json .kube/config .aws/config .aws/credentials .ssh/config .git-credentials main.tfvars secrets.yml
    secrets.json credentials.json id_ed25519 .cargo/credentials.toml`.split(/\s+/),
  )("%s is not read", async (name) => {
    expect(await new ExcludedFiles(silentLogger).matchingPattern(`${project}/${name}`, defaultExclude)).toBeDefined();
  });

  it.each(
    `id_generator.ts config.yaml environment.ts keys.ts settings.json env.py src/config.json docker/config.json kube/config.ts
    npmrc.md tokens.py credentials.ts secretary.ts main.tf keyboard.key.ts aws/config.ts .gitconfig .eslintrc package.json`.split(/\s+/),
  )("%s is read", async (name) => {
    expect(await new ExcludedFiles(silentLogger).matchingPattern(`${project}/${name}`, defaultExclude)).toBeUndefined();
  });
});
