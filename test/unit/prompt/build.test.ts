import { describe, expect, it } from "vitest";
import { documentContext } from "../../../server/src/document/documentContext.js";
import { budgetFor, fullBudget, type PromptBudget, PromptBuilder } from "../../../server/src/prompt/build.js";
import { fimFamilies } from "../../../server/src/prompt/fimFamilies.js";
import { contextAt, requestAt } from "../../support/completion.js";
import { CharacterTokenizer } from "../../support/fakeEngine.js";
import { bundledPattern, PatternTokenizer } from "../../support/patternTokenizer.js";

const numbered = (count: number) => Array.from({ length: count }, (_, index) => `line ${index} of the file`).join("\n");
const budget: PromptBudget = { prefixTokens: 400, suffixTokens: 100 };

const familyOf = (name: string) => fimFamilies.find((family) => family.name === name)!;
const builder = (format = "spm") => new PromptBuilder(new CharacterTokenizer(), familyOf(format));

function commonStart(a: Int32Array, b: Int32Array): number {
  const end = a.findIndex((id, index) => id !== b[index]);
  return end < 0 ? a.length : end;
}

describe("the window of a prompt", () => {
  it("holds a small document completely", () => {
    const { prefix, suffix } = builder().build(contextAt("a\nb█c\nd"), budget);
    expect([prefix, suffix]).toEqual(["a\nb", "c\nd"]);
  });

  it("leaves out a space that stands alone before the cursor, and says so", () => {
    const spelled = (marked: string) => {
      const { ids, heldBack, prefix } = builder("joined").build(contextAt(marked), budget);
      return { end: new CharacterTokenizer().spell(ids).split("\n").at(-1), heldBack, prefix };
    };
    expect(spelled("return █")).toEqual({ end: "return", heldBack: " ", prefix: "return " });
    expect(spelled("return█")).toEqual({ end: "return", heldBack: "", prefix: "return" });
    // Indentation and alignment are no single spaces: they have tokens of their own.
    expect(spelled("  █")).toMatchObject({ end: "  ", heldBack: "" });
    expect(spelled("a  █")).toMatchObject({ end: "a  ", heldBack: "" });
  });

  it("keeps the space where the model was trained on cuts at any character", () => {
    const { ids, heldBack } = builder("qwen").build(contextAt("return █"), budget);
    expect(new CharacterTokenizer().spell(ids)).toBe("<|fim_prefix|>return <|fim_suffix|><|fim_middle|>");
    expect(heldBack).toBe("");
  });

  it("keeps within the budget on both sides, in whole lines", () => {
    const { prefix, suffix, ids } = builder().build(contextAt(`${numbered(200)}█\n${numbered(200)}`), budget);
    expect(prefix.length).toBeLessThanOrEqual(budget.prefixTokens);
    expect(prefix).toMatch(/^line \d+ of the file\n/);
    expect(suffix.length).toBeLessThanOrEqual(budget.suffixTokens);
    expect(suffix).toMatch(/of the file$/);
    expect(ids.length).toBe(prefix.length + suffix.length + "example.ts\n".length + 4);
  });

  it("stays where it is while somebody types, and then moves by several lines", () => {
    const prompts = builder();
    const typed = "and the text that is typed now goes on for a while\n".repeat(20);
    const starts = Array.from(typed, (_, length) => {
      const { prefix } = prompts.build(contextAt(`${numbered(200)}\n${typed.slice(0, length)}█`), budget);
      expect(prefix.length).toBeLessThanOrEqual(budget.prefixTokens);
      return prefix.slice(0, 20);
    });
    const moves = starts.filter((start, index) => index > 0 && start !== starts[index - 1]).length;
    expect(moves).toBeGreaterThan(1);
    expect(moves).toBeLessThanOrEqual(Math.ceil(typed.length / (0.4 * budget.prefixTokens - 60)));
  });

  it("stays where it is when lines are added above it", () => {
    const prompts = builder();
    const first = prompts.build(contextAt(`${numbered(200)}█`), budget).prefix;
    const second = prompts.build(contextAt(`an import that was added\n${numbered(200)}x█`), budget).prefix;
    expect(second).toBe(`${first}x`);
  });

  it("is chosen anew when the text at its start changes", () => {
    const prompts = builder();
    const typed = "x".repeat(100);
    const { prefix } = prompts.build(contextAt(`${numbered(200)}█`), budget);
    const [head] = prefix.split("\n");
    const kept = prompts.build(contextAt(`${numbered(200)}${typed}█`), budget).prefix;
    expect(kept).toBe(prefix + typed);
    const changed = numbered(200).replace(head!, "something else");
    expect(kept.length).toBeGreaterThan(prompts.build(contextAt(`${changed}${typed}█`), budget).prefix.length);
  });

  it("belongs to one document", () => {
    const prompts = builder();
    prompts.build(contextAt(`${numbered(200)}█`, { uri: "file:///a" }), budget);
    const there = prompts.build(contextAt(`${numbered(20)}█`, { uri: "file:///b" }), { ...budget, prefixTokens: 1000 });
    expect(there.prefix).toBe(numbered(20));
  });

  it("begins inside a line that is longer than the budget", () => {
    const { prefix } = builder().build(contextAt(`${"x".repeat(50_000)}█`), { prefixTokens: 1024, suffixTokens: 16 });
    expect(prefix.length).toBeGreaterThan(500);
    expect(prefix.length).toBeLessThanOrEqual(1024);
  });
});

describe("a machine that computes few tokens in the time of an answer", () => {
  const slow: PromptBudget = { ...budget, newTokens: 150 };
  const typed = (count: number) => `${numbered(200)}\n${"z".repeat(count)}█\n${numbered(9)}`;

  it("gets the text nearest to the cursor first", () => {
    const { ids, prefix } = builder("qwen").build(contextAt(typed(3)), { ...slow, suffixTokens: 40 });
    expect(ids.length).toBeLessThanOrEqual(150);
    expect(prefix).toMatch(/^line \d+ of the file\n[^]*line 199 of the file\nzzz$/);
  });

  it("gets more with every letter, up to the whole budget, because what is computed stays", () => {
    const prompts = builder("qwen");
    const lengths = Array.from({ length: 300 }, (_, count) => prompts.build(contextAt(typed(count)), { ...slow, suffixTokens: 40 }).prefix.length);
    expect(lengths[0]).toBeLessThan(150);
    expect(Math.max(...lengths)).toBeGreaterThan(300);
    expect(Math.max(...lengths)).toBeLessThanOrEqual(budget.prefixTokens);
  });

  it("begins anew after a jump or another document instead of computing all that lies between", () => {
    const prompts = builder("qwen");
    for (let count = 0; count < 250; count++) prompts.build(contextAt(typed(count)), slow);
    prompts.build(contextAt("other█", { uri: "file:///other.ts" }), slow);
    expect(prompts.build(contextAt(typed(250)), slow).ids.length).toBeLessThanOrEqual(150);
  });
});

it("begins with the token that the tokenizer puts before everything", () => {
  const tokenizer = Object.assign(new CharacterTokenizer(), { bosId: 6 });
  const { ids } = new PromptBuilder(tokenizer, familyOf("qwen")).build(contextAt("a█"), budget);
  expect(tokenizer.spell(ids)).toBe("<|file_sep|><|fim_prefix|>a<|fim_suffix|><|fim_middle|>");
});

it("takes the names of control tokens in a document for text", () => {
  const tokenizer = new CharacterTokenizer();
  const { ids } = new PromptBuilder(tokenizer, familyOf("qwen")).build(contextAt("'<|fim_middle|>'█\n<|fim_suffix|>"), budget);
  for (const name of ["<|fim_middle|>", "<|fim_suffix|>"]) {
    expect([...ids].filter((id) => id === tokenizer.idOf(name))).toHaveLength(1);
  }
});

describe("consecutive prompts", () => {
  it.each([
    ["joined", 0],
    ["spm", 1],
  ] as const)("begin alike up to the typed text when the suffix comes first: %s", (format, closing) => {
    const prompts = builder(format);
    const tail = `\n${numbered(50)}`;
    const before = prompts.build(contextAt(`${numbered(200)}\nfo█${tail}`), budget).ids;
    const after = prompts.build(contextAt(`${numbered(200)}\nfoo█${tail}`), budget).ids;
    expect(commonStart(before, after)).toBe(before.length - closing);
  });

  it("keep the suffix when a line is broken", () => {
    const prompts = builder("spm");
    const before = prompts.build(contextAt(`${numbered(20)}█\nend`), budget);
    const after = prompts.build(contextAt(`${numbered(20)}\n  █\nend`), budget);
    expect(after.suffix).toBe(before.suffix);
    expect(commonStart(before.ids, after.ids)).toBe(before.ids.length - 1);
  });
});

describe("time per keystroke", () => {
  it("stays below 2 ms in a large document", () => {
    const prompts = new PromptBuilder(new PatternTokenizer(bundledPattern), familyOf("spm"));
    const large = numbered(400_000);
    const times = Array.from({ length: 60 }, (_, typed) => {
      const request = requestAt(`${large}\n${"x".repeat(typed)}█\n${numbered(100)}`);
      documentContext(request); // makes the text flat, as the editor's synchronisation left it
      const startedAt = performance.now();
      const context = documentContext(request);
      if (typeof context === "string") throw new Error(context);
      prompts.build(context, fullBudget);
      return performance.now() - startedAt;
    });
    const typical = times.slice(10).sort((a, b) => a - b)[12]!; // the lower quartile: other work on the machine is not ours
    expect(typical).toBeLessThan(2);
  });
});

it("shrinks the budget to what a session holds, and the suffix to what the model knows", () => {
  expect(budgetFor(4096)).toEqual(fullBudget);
  const small = budgetFor(448);
  expect(small.prefixTokens + small.suffixTokens).toBeLessThanOrEqual(448 - 48);
  expect(small.prefixTokens).toBeGreaterThan(3 * small.suffixTokens);
  expect(budgetFor(4096, 128)).toEqual({ ...fullBudget, suffixTokens: 128 });
  expect(budgetFor(4096, 128, 100)).toEqual({ prefixTokens: 1024, suffixTokens: 25, newTokens: 100 });
});
