import path from "node:path";
import { describe, expect, test } from "vitest";
import { compilePattern, stepBudget } from "../../../server/src/checkpoints/patterns.js";
import { describeModel } from "../../support/described.js";
import { copyOfGolden, editJson, golden } from "../../support/modelFiles.js";

const module = "model.layers.13.self_attn.k_proj";
const matches = (key: string, name = module) => compilePattern(key, stepBudget())(name);

/** PEFT asks `re.match(rf"(.*\.)?({key})$", name)`; JavaScript's own engine means the same by these. */
const keys = [
  "k_proj",
  "self_attn.k_proj",
  module,
  "proj",
  "k_pro",
  "layers.1.self_attn.k_proj",
  "layers\\.13\\.self_attn\\.k_proj",
  ".*k_proj",
  ".*\\.(q|k|v)_proj",
  "layers\\.(1[0-9]|2[0-3])\\.self_attn\\.[qkv]_proj",
  "layers\\.([0-9]|1[0-2])\\..*",
  "^model\\.layers\\.\\d+\\.self_attn\\.k_proj$",
  "^layers\\..*",
  "(?:self_attn|mlp)\\.\\w+",
  "layers.\\d+?.self_attn.(q_proj|k_proj)",
  "[^q]_proj",
  "k_?proj",
  "kx?_proj",
  "(a*)*k_proj",
  "",
];

test.each(keys)("%j means what PEFT means by it", (key) => {
  for (const name of [module, "k_proj", "model.layers.1.mlp.gate_proj", "lm_head", ""]) {
    expect([key, name, matches(key, name)]).toEqual([key, name, new RegExp(`^(.*\\.)?(${key})$`).test(name)]);
  }
});

test.each(["(", ")", "[a", "*a", "a{2}", "(?=a)", "a\\", "(?<n>a)", "\\b", "(".repeat(60)])("%j is refused", (key) => {
  expect(() => matches(key)).toThrow();
});

describe("in an adapter", () => {
  const withPattern = (patterns: object) => {
    const adapter = path.join(copyOfGolden("tiny-lora"), "adapter");
    editJson(path.join(adapter, "adapter_config.json"), (config) => Object.assign(config, patterns));
    return describeModel(golden("tiny-lora/base"), adapter);
  };

  test("patterns that would take another engine years take no time", async () => {
    const start = performance.now();
    await withPattern({ rank_pattern: { "(.*)*x": 4, "((a|a|.)+)+!": 4, "(.+.+.+.+)+$y": 4 } });
    expect(performance.now() - start).toBeLessThan(2000);
  });

  test("too many steps are an error, not a wait", async () => {
    const slow = `${"(".repeat(20)}${".?".repeat(400)}${")*".repeat(20)}`;
    const patterns = Object.fromEntries(Array.from({ length: 2000 }, (_, i) => [`${slow}${i}`, 4]));
    await expect(withPattern({ alpha_pattern: patterns })).rejects.toMatchObject({
      code: "unsupported",
      message: expect.stringMatching(/adapter_config\.json: the key .* of alpha_pattern takes too long to match/),
    });
  });

  test("a key that is no pattern is named with its file and field", async () => {
    await expect(withPattern({ rank_pattern: { "k_proj(": 4 } })).rejects.toMatchObject({
      code: "unsupported",
      message: expect.stringMatching(/adapter_config\.json: the key k_proj\( of rank_pattern has a \( without its \)/),
    });
  });
});
