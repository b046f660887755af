import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { gunzipSync } from "node:zlib";
import type { Llama, LlamaModel, Token } from "node-llama-cpp" with { "resolution-mode": "import" };
import { afterAll, describe, expect, test } from "vitest";
import { readGguf } from "../../../server/src/checkpoints/gguf/header.js";
import { ggufTokenizer } from "../../../server/src/checkpoints/gguf/tokenizer.js";
import { type GgufTokenizer, vocabularyFromGguf } from "../../../server/src/tokenizer/ggufVocabulary.js";
import { splitNames } from "../../../server/src/tokenizer/splits.js";
import { createTokenizer, loadTokenizer, type Tokenizer } from "../../../server/src/tokenizer/tokenizer.js";
import { bundledGguf } from "../../support/bundledVocabulary.js";
import { writeGguf } from "../../support/ggufFiles.js";
import { temporaryDirectory } from "../../support/modelFiles.js";

/** llama.cpp as a development package brings it; undefined where it has no library for this machine. */
const llama = await openLlama();
afterAll(() => llama?.dispose());

const repository = path.join(import.meta.dirname, "../../..");
const golden = JSON.parse(unpacked("test/golden/tokenizer.json.gz")) as {
  addedMerges: [string, string][];
  cases: { text: string }[];
};

describe.skipIf(llama === undefined)("llama.cpp reads the same ids out of the same vocabulary", () => {
  test.each(splitNames)("with the split %s", async (pre) => {
    const gguf = bundledGguf(pre, golden.addedMerges);
    const model = await llama!.loadModel({ modelPath: writeVocabulary(gguf), vocabOnly: true });
    // It takes only the blanks of ASCII for blanks here; the library that this tokenizer was made with takes all.
    const unlike = pre === "deepseek-coder" ? /(?![\t-\r ])\p{White_Space}/u : /$^/;
    const texts = golden.cases.map(({ text }) => text).filter((text) => !unlike.test(text));
    expect(texts.length).toBeGreaterThan(30);
    compare(createTokenizer(vocabularyFromGguf(gguf)), model, texts);
    await model.dispose();
  });
});

const modelFolder = process.env["PIPO_TEST_MODELS"];
const realFiles = modelFolder === undefined ? [] : readdirSync(modelFolder).filter((name) => name.endsWith(".gguf"));

/** With PIPO_TEST_MODELS=FOLDER every GGUF file in it is compared over megabytes of code. */
describe.skipIf(llama === undefined || realFiles.length === 0)("llama.cpp reads the same ids with real models", () => {
  test.each(realFiles)("%s", { timeout: 300_000 }, async (name) => {
    const file = path.join(modelFolder!, name);
    const tokenizer = await loadTokenizer(ggufTokenizer(await readGguf(file))!);
    const model = await llama!.loadModel({ modelPath: file, vocabOnly: true });
    const corners = golden.cases.map(({ text }) => text);
    compare(tokenizer, model, [...corners, ...heldOutCode()]);
    for (const text of corners) {
      const ids = tokenizer.encode(text);
      expect(tokenizer.detokenize(ids), text).toBe(model.detokenize(Array.from(ids) as Token[]));
    }
    await model.dispose();
  });
});

function compare(tokenizer: Tokenizer, model: LlamaModel, texts: readonly string[]): void {
  for (const text of texts) {
    const ids = tokenizer.encode(text);
    // Words that their authors added are always tokens there, and text here.
    if (!addedWords.test(text)) expect(Buffer.from(ids.buffer).equals(idsOf(model, text)), text).toBe(true);
    expect(ids.some((id) => tokenizer.isSpecial(id))).toBe(false);
  }
}

const addedWords = /<\/?tool_call>/;

function idsOf(model: LlamaModel, text: string): Buffer {
  return Buffer.from(Int32Array.from(model.tokenize(text, /*specialTokens=*/ false)).buffer);
}

function heldOutCode(): readonly string[] {
  const lines = unpacked("models/comparison/held-out.jsonl.gz").split("\n");
  return lines.filter((line) => line !== "").map((line) => (JSON.parse(line) as { text: string }).text);
}

function unpacked(file: string): string {
  return gunzipSync(readFileSync(path.join(repository, file))).toString();
}

/** The least that llama.cpp takes for a model when it reads the vocabulary only. */
function writeVocabulary({ pre, tokens, merges, tokenTypes }: GgufTokenizer): string {
  return writeGguf(path.join(temporaryDirectory(), "vocabulary.gguf"), {
    metadata: new Map([
      ["general.architecture", { text: "qwen2" }],
      ["qwen2.context_length", { u32: 4096 }],
      ["qwen2.embedding_length", { u32: 64 }],
      ["qwen2.block_count", { u32: 1 }],
      ["qwen2.feed_forward_length", { u32: 64 }],
      ["qwen2.attention.head_count", { u32: 1 }],
      ["qwen2.attention.layer_norm_rms_epsilon", { f32: 1e-6 }],
      ["tokenizer.ggml.model", { text: "gpt2" }],
      ["tokenizer.ggml.pre", { text: pre! }],
      ["tokenizer.ggml.tokens", { texts: tokens }],
      ["tokenizer.ggml.token_type", { i32s: Array.from(tokenTypes!) }],
      ["tokenizer.ggml.merges", { texts: merges }],
      ["tokenizer.ggml.add_bos_token", { bool: false }],
      ["tokenizer.ggml.bos_token_id", { u32: 0 }],
      ["tokenizer.ggml.eos_token_id", { u32: 0 }],
    ]),
    tensors: [],
  });
}

async function openLlama(): Promise<Llama | undefined> {
  try {
    const { getLlama, LlamaLogLevel } = await import("node-llama-cpp");
    return await getLlama({ gpu: false, build: "never", logLevel: LlamaLogLevel.disabled, maxThreads: 1 });
  } catch {
    return undefined;
  }
}
