import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, readdirSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import type { ForeignModelFolders } from "../../../server/src/environment.js";
import { discoverModels } from "../../../server/src/models/discovery.js";
import { temporaryDirectory } from "../../support/modelFiles.js";

const gguf = Buffer.from("GGUF and the rest");

function folders(root = temporaryDirectory()): ForeignModelFolders & { readonly root: string } {
  const at = (name: string) => path.join(root, name);
  return { root, ollama: at("ollama"), lmStudio: [at("lmstudio")], llamaCpp: at("llama.cpp"), hubCache: at("hub"), jan: [at("jan")], gpt4all: at("gpt4all") };
}

function write(file: string, bytes: Buffer | string = gguf): string {
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, bytes);
  return file;
}

const digest = (letter: string) => `sha256:${letter.repeat(64)}`;

function ollamaModel({ ollama }: ForeignModelFolders, place: string, letter: string, wanted = digest(letter)): string {
  const layers = [
    { mediaType: "application/vnd.ollama.image.template", digest: digest("0") },
    { mediaType: "application/vnd.ollama.image.model", digest: wanted },
  ];
  write(path.join(ollama, "manifests", place), JSON.stringify({ schemaVersion: 2, layers }));
  return write(path.join(ollama, "blobs", digest(letter).replace(":", "-")));
}

describe("models of other programs", () => {
  test("are found where each keeps them, under the names that a person knows", async () => {
    const all = folders();
    const blob = ollamaModel(all, "registry.ollama.ai/library/qwen2.5-coder/1.5b", "a");
    ollamaModel(all, "hf.co/somebody/model/Q4_K_M", "b");
    write(path.join(all.lmStudio[0]!, "publisher/repo/model.gguf"));
    write(path.join(all.llamaCpp, "ggml-org_model.GGUF"));
    const inHub = write(path.join(all.hubCache, "models--org--name/blobs/1234"));
    mkdirSync(path.join(all.hubCache, "models--org--name/snapshots/abc"), { recursive: true });
    symlinkSync(inHub, path.join(all.hubCache, "models--org--name/snapshots/abc/model-q4.gguf"));
    write(path.join(all.jan[0]!, "llamacpp/models/m/model.gguf"));
    write(path.join(all.gpt4all, "model.gguf"));
    const found = await discoverModels(all);
    expect(found.map(({ program, name, bytes }) => [program, name, bytes])).toEqual([
      ["Ollama", "hf.co/somebody/model:Q4_K_M", 17],
      ["Ollama", "qwen2.5-coder:1.5b", 17],
      ["LM Studio", "publisher/repo/model.gguf", 17],
      ["llama.cpp", "ggml-org_model.GGUF", 17],
      ["Hugging Face", "org/name/model-q4.gguf", 17],
      ["Jan", "llamacpp/models/m/model.gguf", 17],
      ["GPT4All", "model.gguf", 17],
    ]);
    expect(found[1]?.path).toBe(blob);
  });

  test("are looked at and left alone", async () => {
    const all = folders();
    const blob = ollamaModel(all, "registry.ollama.ai/library/m/latest", "a");
    const before = [readdirSync(all.root, { recursive: true }), statSync(blob).mtimeMs];
    await discoverModels(all);
    expect([readdirSync(all.root, { recursive: true }), statSync(blob).mtimeMs]).toEqual(before);
  });

  test("are no parts of split files, no projectors, and nothing that only has the name", async () => {
    const all = folders();
    write(path.join(all.llamaCpp, "big-00001-of-00002.gguf"));
    write(path.join(all.llamaCpp, "mmproj-model.gguf"));
    write(path.join(all.llamaCpp, "page.gguf"), "<html>");
    write(path.join(all.llamaCpp, "empty.gguf"), "");
    mkdirSync(path.join(all.llamaCpp, "folder.gguf"));
    expect(await discoverModels(all)).toEqual([]);
  });

  test("count once, whoever links to them, and circles of links end", async () => {
    const all = folders();
    const file = write(path.join(all.llamaCpp, "model.gguf"));
    symlinkSync(file, path.join(all.llamaCpp, "same.gguf"));
    mkdirSync(all.gpt4all, { recursive: true });
    symlinkSync(file, path.join(all.gpt4all, "again.gguf"));
    symlinkSync(all.llamaCpp, path.join(all.llamaCpp, "circle"));
    symlinkSync(path.join(all.root, "nowhere"), path.join(all.llamaCpp, "broken.gguf"));
    expect((await discoverModels(all)).map(({ name }) => name)).toEqual(["model.gguf"]);
  });

  test.skipIf(process.platform === "win32")("are never waited for: a pipe under the name of a model is passed over", async () => {
    const all = folders();
    mkdirSync(all.llamaCpp, { recursive: true });
    execFileSync("mkfifo", [path.join(all.llamaCpp, "pipe.gguf")]);
    expect(await discoverModels(all)).toEqual([]);
  });

  test("are not looked for outside: a manifest cannot name another file", async () => {
    const all = folders();
    write(path.join(all.root, "secret"));
    for (const [index, wanted] of ["../../secret", `sha256:${"../".repeat(21)}x`, digest("A"), ""].entries()) {
      ollamaModel(all, `registry.ollama.ai/library/evil/${index}`, "f", wanted);
    }
    write(path.join(all.ollama, "manifests/registry.ollama.ai/library/broken/latest"), "{");
    write(path.join(all.ollama, "manifests/registry.ollama.ai/library/huge/latest"), "[".repeat(2_000_000));
    expect(await discoverModels(all)).toEqual([]);
  });

  test.skipIf(process.getuid?.() === 0)("in folders that may not be read are passed over", async () => {
    const all = folders();
    write(path.join(all.llamaCpp, "locked/model.gguf"));
    write(path.join(all.llamaCpp, "open.gguf"));
    chmodSync(path.join(all.llamaCpp, "locked"), 0);
    expect((await discoverModels(all)).map(({ name }) => name)).toEqual(["open.gguf"]);
    chmodSync(path.join(all.llamaCpp, "locked"), 0o755);
  });

  test("cost no more than the limits say", async () => {
    const all = folders();
    for (let index = 0; index < 30; index++) write(path.join(all.llamaCpp, `${String(index).padStart(2, "0")}.gguf`));
    write(path.join(all.gpt4all, "a/b/c/d/deep.gguf"));
    const limits = { entries: 1_000, depth: 2, models: 1_000 };
    expect(await discoverModels(all, limits)).toHaveLength(30);
    expect(await discoverModels(all, { ...limits, entries: 10 })).toHaveLength(10);
    expect(await discoverModels(all, { ...limits, models: 5 })).toHaveLength(5);
  });
});
