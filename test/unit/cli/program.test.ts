import path from "node:path";
import { describe, expect, test } from "vitest";
import { offsetOf, parsePlace } from "../../../server/src/cli/complete.js";
import { languageOf } from "../../../server/src/cli/languages.js";
import { temporaryDirectory } from "../../support/modelFiles.js";
import { pipo } from "../../support/commandLine.js";

describe("what was not understood ends with 2 and one line", () => {
  const cases: readonly [args: string[], message: RegExp][] = [
    [["inspect", "--ids", "1,2,x"], /"x" is not a token id/],
    [["inspect", "--ids", "-1"], /"-1" is not a token id|argument missing/],
    [["inspect"], /required option '--ids <list>' not specified/],
    [["inspect", "--ids", "1", "--dtype", "int3"], /Allowed choices are auto, f32, bf16, int8, int4, mix, stored/],
    [["inspect", "--ids", "1", "--group-size", "16"], /It must be 32 or 64/],
    [["generate", "--prompt", "a", "--ids", "1"], /Give either --prompt or --ids/],
    [["generate", "--ids", "1", "--max-tokens", "0"], /integer of at least 1/],
    [["generate", "--ids", "1", "--temperature", "warm"], /It must be a number/],
    [["complete"], /missing required argument 'file:line:column'/],
    [["complete", "a.ts"], /"a\.ts" is not FILE:LINE:COLUMN/],
    [["complete", "a.ts:0:1"], /not FILE:LINE:COLUMN with numbers from 1/],
    [["pull", "nothing-of-this-name"], /no model "nothing-of-this-name" in the catalogue\. There are qwen2\.5-coder-0\.5b, /],
    [["dance"], /unknown command 'dance'/],
    [["info", "--loud"], /unknown option '--loud'/],
  ];
  test.each(cases)("%j", async (args, message) => {
    const { exitCode, stdout, stderr } = await pipo(...args);
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: "" });
    expect(stderr).toMatch(message);
  });
});

test("--help and --version end with 0", async () => {
  const help = await pipo("--help");
  expect(help).toMatchObject({ exitCode: 0, stderr: "" });
  for (const name of ["complete", "generate", "inspect", "models", "pull", "pack", "info"]) expect(help.stdout).toContain(`  ${name}`);
  const version = await pipo("--version");
  expect(version).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) });
});

describe("what went wrong ends with 1 and one line that says what to do", () => {
  test("a model that is not there", async () => {
    const directory = path.join(temporaryDirectory(), "none");
    const { exitCode, stdout, stderr } = await pipo("inspect", "--ids", "1", "--model", directory);
    expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: "" });
    expect(stderr).toBe(`pipo: ${directory} does not exist. Give the directory of a model, or a GGUF file.\n`);
  });

  test("--verbose adds the stack", async () => {
    const { stderr } = await pipo("inspect", "--ids", "1", "--model", temporaryDirectory(), "--verbose");
    expect(stderr).toMatch(/^pipo: .*config\.json does not exist.*\nModelError: .*\n +at /);
  });

  test("a file that is not there", async () => {
    const { exitCode, stderr } = await pipo("complete", "/no/such/file.ts:1:1");
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(/^pipo: \/no\/such\/file\.ts cannot be read/);
  });
});

test("places may have colons in the path", () => {
  expect(parsePlace("/a:1/b.ts:12:3")).toEqual({ file: "/a:1/b.ts", line: 12, column: 3 });
});

describe("line and column lead to an offset", () => {
  const text = "ab\r\ncé🎉d\n\nend";
  test.each([
    [1, 1, 0],
    [1, 3, 2],
    [2, 1, 4],
    [2, 5, 8],
    [2, 6, 9],
    [3, 1, 10],
    [4, 4, 14],
  ])("%i:%i is %i", (line, column, offset) => {
    expect(offsetOf(text, line, column, "f")).toBe(offset);
  });

  test.each([
    [1, 4, /Line 1 of f has 2 characters; the last column is 3/],
    [5, 1, /f has 4 lines; there is no line 5/],
  ])("%i:%i is refused", (line, column, message) => {
    expect(() => offsetOf(text, line, column, "f")).toThrow(message);
  });

  test("lines end as editors count them", () => {
    expect(offsetOf("ab\rcd\r\nef", 3, 2, "f")).toBe(8);
    expect(() => offsetOf("ab\rcd", 3, 1, "f")).toThrow(/f has 2 lines/);
  });

  test("an empty file has one place", () => {
    expect(offsetOf("", 1, 1, "f")).toBe(0);
  });
});

test("language ids are those of editors", () => {
  expect(["a.ts", "b.py", "c.TSX", "d.go", "Makefile", "e.rs"].map(languageOf)).toEqual([
    "typescript",
    "python",
    "typescriptreact",
    "go",
    "plaintext",
    "rust",
  ]);
});
