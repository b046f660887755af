import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { compareDistributions } from "../../server/src/bench/peer/agreement.js";
import { CompletionService } from "../../server/src/completion/service.js";
import { StatusReporter } from "../../server/src/completion/statusReporter.js";
import { parseSettings } from "../../server/src/config/config.js";
import { loadModel, type LoadedModel } from "../../server/src/engine/engine.js";
import { silentLogger } from "../../server/src/log.js";
import { ModelManager } from "../../server/src/models/modelManager.js";
import { parseCursor } from "../support/cursor.js";

/** What people have on their disks, held to transformers' reading of the same file and to llama.cpp. */

const folder = process.env["PIPO_TEST_MODELS"] ?? "";
const packed = mkdtempSync(path.join(tmpdir(), "pipo-models-"));
afterAll(() => rmSync(packed, { recursive: true, force: true }));

interface Recorded {
  readonly file: string;
  readonly ids: readonly number[];
  readonly top: readonly (readonly (readonly [id: number, logit: number])[])[];
}

const recorded = (name: string): Recorded =>
  JSON.parse(readFileSync(path.join(import.meta.dirname, `${name}.json`), "utf8")) as Recorded;

const coder = recorded("qwen2.5-coder-0.5b-instruct-q4_k_m");
const small = recorded("SmolLM2-135M-Instruct.Q4_1");
const fileOf = ({ file }: Recorded) => path.join(folder, file);
const isThere = (model: Recorded) => folder !== "" && existsSync(fileOf(model));

describe.each([
  ["Qwen2.5-Coder 0.5B", coder, { meanKl: 0.003, sameBest: 0.98 }],
  // 135 million weights: rounding activations to eight bits, which both engines do, moves more here.
  ["SmolLM2 135M", small, { meanKl: 0.008, sameBest: 0.94 }],
])("%s", (_name, model, limits) => {
  it.skipIf(!isThere(model))("gives the logits that transformers gives for the same file", async () => {
    const loaded = await loadModel(fileOf(model), { dtype: "f32", threads: 2 });
    const session = loaded.native.createSession({ maxPositions: model.ids.length });
    const positions = await session.inspect(Int32Array.from(model.ids), "plain", 12);
    await loaded.close();
    for (const [at, best] of model.top.entries()) {
      const ours = new Map(positions[at]!.first.map(({ id, logit }) => [id, logit]));
      expect(positions[at]!.first[0]!.id).toBe(best[0]![0]);
      for (const [id, logit] of best) expect(Math.abs((ours.get(id) ?? Number.NaN) - logit)).toBeLessThan(2e-3);
    }
  });

  it.skipIf(!isThere(model))("is as near to llama.cpp as rounded activations allow", async () => {
    const texts = [readFileSync(path.join(import.meta.dirname, "../../server/src/completion/service.ts"), "utf8")];
    const { meanKl, sameBest, positions } = await compareDistributions(
      { file: fileOf(model), texts, tokens: 256, threads: 2, packedDirectory: packed },
      () => undefined,
    );
    expect(positions).toBe(256);
    expect(meanKl).toBeLessThan(limits.meanKl);
    expect(sameBest).toBeGreaterThan(limits.sameBest);
  });
});

describe.skipIf(!isThere(coder))("completion with Qwen2.5-Coder 0.5B", () => {
  let model: LoadedModel;
  let manager: ModelManager;
  let service: CompletionService;
  const { settings } = parseSettings({ completion: { timeLimitMs: 60_000, minConfidence: 0 } });

  beforeAll(async () => {
    model = await loadModel(fileOf(coder), { threads: 2, packedDirectory: packed });
    manager = new ModelManager(async () => model, silentLogger, () => undefined);
    await manager.configure(settings);
    service = new CompletionService(manager, new StatusReporter(() => undefined), silentLogger);
  });
  afterAll(() => manager.unload());

  /** `marked` has the cursor as a bar. */
  async function suggestion(marked: string, languageId: string): Promise<string> {
    const { text, offset, position } = parseCursor(marked);
    const document = { uri: pathToFileURL(`/sample/file.${languageId}`).href, languageId, version: 1, text };
    const result = await service.complete({ document, offset, position, invoked: true, settings, signal: new AbortController().signal });
    return result.kind === "suggestion" ? result.suggestion.text : `nothing: ${result.reason}`;
  }

  it("writes what a programmer would", async () => {
    expect(await suggestion("def add(a, b):\n    return █\n\nprint(add(1, 2))\n", "python")).toBe("a + b");
    expect(
      await suggestion("interface Box { left: number; right: number }\n\nfunction width(box: Box): number {\n  return box.right - █;\n}\n", "typescript"),
    ).toBe("box.left");
  });

  it("goes on inside a word, and takes names of control tokens in a document for text", async () => {
    expect(await suggestion("const numbers = [1, 2, 3];\nconsole.log(numbers.len█);\n", "javascript")).toBe("gth");
    const token = '# The token "<|fim_middle|>" is text here.\n';
    expect(await suggestion(`${token}def double(n):\n    return 2 * █\n\nprint(double(4))\n`, "python")).toBe("n");
  });
});
