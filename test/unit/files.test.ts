import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { readTextIfExists } from "../../server/src/files.js";
import { plainText } from "../../server/src/plainText.js";
import { describeModel } from "../support/described.js";
import { copyOfGolden, temporaryDirectory } from "../support/modelFiles.js";

test.each([
  ["two\nlines\tand \u0000 more ", "two lines and more"],
  ["\u001b[2Jgone", "[2Jgone"],
  ["a\u202eb\u200bc\u2028d", "abc d"],
  ["[Repair](command:evil)", "[Repair] (command:evil)"],
  ["![x][y]", "![x] [y]"],
  ["<｜fim▁begin｜> grüß 你好", "<｜fim▁begin｜> grüß 你好"],
  ["x".repeat(100), `${"x".repeat(79)}…`],
  ["\ud800x", "x"],
])("%j in a message is %j", (text, expected) => expect(plainText(text)).toBe(expected));

test("a text of any length is shortened at once", () => {
  const start = performance.now();
  expect(plainText("]".repeat(50_000_000))).toHaveLength(80);
  expect(performance.now() - start).toBeLessThan(500);
});

describe("only regular files are opened", () => {
  // A test that waits for ever is what this is about.
  const patience = 5000;

  test.skipIf(process.platform === "win32").each([
    "config.json",
    "model.safetensors",
    "pipo.json",
    "tokenizer.json",
    "generation_config.json",
  ])("a pipe as %s is refused at once", { timeout: patience }, async (name) => {
    const directory = copyOfGolden("tiny-08b");
    const file = path.join(directory, name);
    rmSync(file, { force: true });
    execFileSync("mkfifo", [file]);
    await expect(describeModel(directory)).rejects.toMatchObject({
      code: "io",
      message: expect.stringContaining(`${file} is not a regular file`),
    });
  });

  test.skipIf(process.platform === "win32")("a pipe as a GGUF file, too", { timeout: patience }, async () => {
    const file = path.join(temporaryDirectory(), "model.gguf");
    execFileSync("mkfifo", [file]);
    await expect(describeModel(file)).rejects.toThrow(`${file} is not a regular file`);
  });

  test("a directory in a file's place is no file", async () => {
    const directory = temporaryDirectory();
    mkdirSync(path.join(directory, "config.json"));
    await expect(readTextIfExists(path.join(directory, "config.json"))).rejects.toMatchObject({ code: "io" });
    writeFileSync(path.join(directory, "text"), "grüß");
    expect(await readTextIfExists(path.join(directory, "text"))).toBe("grüß");
    expect(await readTextIfExists(path.join(directory, "none"))).toBeUndefined();
  });
});
