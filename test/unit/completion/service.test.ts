import { describe, expect, it, onTestFinished, vi } from "vitest";
import { parseSettings } from "../../../server/src/config/config.js";
import { ServiceUnderTest } from "../../support/completion.js";

/** A word of 60 letters. */
const long = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZabcdefgh";
const says = (text: string) => new ServiceUnderTest(() => text);

describe("a suggestion", () => {
  it("comes from the model, for the place of the cursor", async () => {
    const { complete, service, model } = bound(says("a + b;"));
    const result = await complete("function add(a, b) {\n  return █\n}\n");
    expect(result).toEqual({
      kind: "suggestion",
      suggestion: { id: "1", text: "a + b;", start: 30, end: 30, source: "model" },
    });
    expect(model.prompts[0]).toBe(
      "<|fim_suffix|>\n}\n<|fim_prefix|><|file_sep|>example.ts\nfunction add(a, b) {\n  return <|fim_middle|>",
    );
    expect(service.lastTrace?.generation).toMatchObject({ mode: "pair", block: false, tokens: 6, steps: 3, accepted: 3 });
  });

  it("comes without the space that the model has to write first, where its format wants it so", async () => {
    const test = new ServiceUnderTest(() => "a + b;", { fimFormat: "joined" });
    expect(await test.text("function add(a, b) {\n  return █\n}\n")).toBe("a + b;");
    expect(test.model.prompts[0]).toMatch(/\n {2}return$/);
  });

  it.each([
    ["one line ends at its break", "x = █\n", "f(1)\ny = f(2)\n", "f(1)"],
    ["a block on an empty line", "def f(a):\n    █\n", "b = a\n    return b\n\ndef g():", "b = a\n    return b"],
    ["a block after what opens it", "def f(a):█\n", "\n    return a\nprint(f(1))\n", "\n    return a"],
    ["a block with its closing bracket", "if (a) {█\n", "\n  b();\n}\nc();\n", "\n  b();\n}"],
    ["nothing that already stands behind", "if (a) {█\n}\n", "\n  b();\n}\n", "\n  b();"],
    ["no control tokens", "x = █\n", "1<|fim_pad|>2", "1"],
  ])("%s", async (_name, document, answer, expected) => {
    expect(await says(answer).text(document)).toBe(expected);
  });

  it("has plain line breaks in CRLF documents too, and so does the prompt", async () => {
    const test = says("b = a\r\n    return b\r\n");
    expect(await test.complete("def f(a):\r\n    █\r\n")).toMatchObject({
      suggestion: { text: "b = a\n    return b", start: 15, end: 15 },
    });
    expect(test.model.prompts[0]).not.toContain("\r");
  });

  it("leaves room for what is written, in positions of the mode", async () => {
    const test = new ServiceUnderTest(() => "1", { contextPairs: 400 });
    const document = `${"some line of code\n".repeat(200)}x = █\n`;
    await test.text(document);
    await test.text(document, { uri: "file:///other.ts", engine: { mode: "plain" } });
    const [pair, plain] = test.model.requests.map(({ promptIds }) => promptIds.length);
    expect(pair).toBeLessThanOrEqual(2 * (400 - 160));
    expect(pair).toBeGreaterThan(1.7 * plain!);
    expect(plain).toBeLessThanOrEqual(400 - 160);
  });

  it("begins with the selected entry of the suggestion list and replaces what was typed of it", async () => {
    const test = says("(value);");
    const result = await test.complete("console.lo█", { selected: { typed: "lo", text: "log" } });
    expect(result).toMatchObject({ suggestion: { text: "log(value);", start: 8, end: 10 } });
    expect(test.model.prompts[0]).toContain("console.log<|fim_middle|>");
  });

  it("is asked for with the gate of the settings, or else of the model", async () => {
    const test = says("1");
    await test.text("a = █\n");
    await test.text("b = █\n", { engine: { threshold: 0.25, mode: "plain" } });
    expect(test.model.requests.map(({ threshold, mode }) => [threshold, mode])).toEqual([
      [undefined, "pair"],
      [0.25, "plain"],
    ]);
  });

  it("never asks for PAD as a stop id", async () => {
    const test = says("1");
    await test.text("a = █\n");
    expect(test.model.requests[0]!.stopIds).toContain(1);
    expect(test.model.requests[0]!.stopIds).not.toContain(0);
  });
});

describe("an empty answer says why", () => {
  it.each([
    ["disabled", "x = █", { completion: { enabled: false } }],
    ["excludedFile", "x = █", { uri: "file:///home/me/.env.local" }],
    ["notTextDocument", "x = █", { uri: "output:tasks" }],
    ["notTextDocument", "x = █", { uri: "vscode-userdata:/settings.json" }],
    ["notTextDocument", "x = █", { uri: "vscode-interactive-input:/1" }],
    ["emptyDocument", "  \n█\n", {}],
    ["midWord", "cons█ole", {}],
    ["midLine", "x = █y + 1", {}],
    ["midLine", "x = █ + 1", {}],
    ["binaryContent", "x\0y = █", {}],
    ["selectedCompletionMismatch", "console.lo█", { selected: { typed: "lo", text: "warn" } }],
  ] as const)("%s: %j", async (reason, document, options) => {
    const test = says("1");
    expect(await test.text(document, options)).toBe(`(${reason})`);
    expect(test.model.requests).toHaveLength(0);
  });

  it("names the pattern that excludes a file", async () => {
    const result = await says("1").complete("x = █", { uri: "file:///srv/tls/server.KEY" });
    expect(result).toEqual({ kind: "empty", reason: "excludedFile", detail: "**/*.key" });
  });

  it.each(["file:///a.py", "untitled:Untitled-1", "vscode-test-web://mount/a.py", "vscode-notebook-cell:/p/n.ipynb#W0", "sftp://h/a.py"])(
    "is not given for %s",
    async (uri) => expect(await says("1").text("x = █", { uri })).toBe("1"),
  );

  it("does not exclude ordinary sources with telling names", async () => {
    for (const name of ["id_generator.ts", "config.yaml", "environment.ts", "keys.ts", "settings.json"]) {
      expect(await says("1").text("x = █", { uri: `file:///src/${name}` })).toBe("1");
    }
  });

  it.each([
    ["emptyText", ""],
    ["emptyText", "   \n"],
    ["filtered", "  return a;\n}"],
  ])("%s for %j", async (reason, answer) => {
    expect(await says(answer).text("  return a;\n█\n  return a;\n}\n")).toBe(`(${reason})`);
  });

  it("lowConfidence, and stops the model as soon as that is clear", async () => {
    const test = new ServiceUnderTest(() => ({ text: "a".repeat(60), probability: 0.2 }));
    expect(await test.text("x = █\n")).toBe("(lowConfidence)");
    expect(test.model.stepsRun).toBe(4);
    expect(test.service.lastTrace?.generation?.confidence).toBeCloseTo(0.2);
  });

  it("ends a block before the line of which the model is not sure", async () => {
    const unsure = new ServiceUnderTest(() => ({ text: "\n  first()\n  ????????()\n  last()", probability: (text) => (text.includes("?") ? 0.05 : 0.9) }));
    expect(await unsure.text("def f():█\n")).toBe("\n  first()");
    expect(unsure.service.lastTrace?.generation?.stopReason).toBe("unsureLine");
  });

  it("shows everything with minConfidence 0", async () => {
    const test = new ServiceUnderTest(() => ({ text: "value", probability: 0.01 }));
    expect(await test.text("x = █\n", { completion: { minConfidence: 0 } })).toBe("value");
  });

  it("asks in the middle of a line when the user asks", async () => {
    expect(await says("1").text("x = █ + y", { invoked: true })).toBe("1");
    expect(await says("# title").text("█", { invoked: true })).toBe("# title");
  });
});

describe("limits", () => {
  /** A model whose every step takes ten milliseconds, by a clock that does nothing else. */
  function timed(text: string): ServiceUnderTest {
    const test = says(text);
    vi.spyOn(performance, "now").mockImplementation(() => 10 * test.model.stepsRun);
    onTestFinished(() => void vi.restoreAllMocks());
    return test;
  }

  it("shows the whole words that are there when the time is over", async () => {
    const test = timed("first second thirdandverylongword");
    expect(await test.text("x = █\n", { completion: { timeLimitMs: 70 } })).toBe("first second");
    expect(test.model.stepsRun).toBe(9);
    expect(test.service.lastTrace?.generation?.stopReason).toBe("timeLimit");
  });

  it("says so when nothing was whole in time", async () => {
    expect(await timed(long).text("x = █\n", { completion: { timeLimitMs: 50 } })).toBe("(timeLimit)");
  });

  it("gives a block twice the time of a line", async () => {
    const test = timed("\n  one()\n  two()\n  three()\n  four()");
    expect(await test.text("def f():█\n", { completion: { timeLimitMs: 70 } })).toBe("\n  one()\n  two()\n  three()");
    expect(test.model.stepsRun).toBe(16);
  });

  it("shows whole words when the tokens are used up", async () => {
    const words = "one two three four five six seven eight nine ten eleven";
    expect(await says(`${words} ${long}`).text("x = █\n")).toBe(words);
  });

  it("stops a model that goes round in circles", async () => {
    const test = says(`self, ${"name: str, ".repeat(40)}`);
    expect(await test.text("def f(█\n")).toBe("self, name: str");
    expect(test.model.stepsRun).toBeLessThan(22);
    expect(test.service.lastTrace?.generation?.stopReason).toBe("loop");
  });

  it("ends a block after the allowed lines", async () => {
    const lines = Array.from({ length: 30 }, (_, index) => `  call_number(${index})`).join("\n");
    const text = await says(`\n${lines}`).text("def f():█", { completion: { maxLines: 3 } });
    expect(text.split("\n")).toHaveLength(4);
  });

  it("never opens a block when told so", async () => {
    expect(await says("\n  a()").text("def f():█", { completion: { multiline: "never" } })).toBe("(emptyText)");
  });
});

describe("the newest request wins", () => {
  it("supersedes the older one of the same document and stops the model", async () => {
    const test = new ServiceUnderTest(() => ({ text: long, stepMs: 5 }));
    const older = test.text("a = █\n");
    await until(() => test.model.stepsRun > 2);
    const newer = test.text("a = b█\n");
    expect(await older).toBe("(superseded)");
    expect(await newer).toBe(long);
    expect(test.model.mostAtOnce).toBe(1);
  });

  it("supersedes the older one even where it asks for nothing itself", async () => {
    const test = new ServiceUnderTest(() => ({ text: long, stepMs: 5 }));
    const older = test.text("a = █\n");
    await until(() => test.model.stepsRun > 2);
    expect(await test.text("a█b = \n")).toBe("(midWord)");
    expect(await older).toBe("(superseded)");
  });

  it("never starts a request that was superseded while it waited", async () => {
    const test = new ServiceUnderTest(() => ({ text: "xxxx", stepMs: 5 }));
    const all = ["a = █", "a = 1█", "a = 12█", "a = 123█"].map((document) => test.text(document));
    expect(await Promise.all(all)).toEqual(["(superseded)", "(superseded)", "(superseded)", "xxxx"]);
    expect(test.model.requests).toHaveLength(1);
  });

  it("lets documents take turns", async () => {
    const test = new ServiceUnderTest(() => ({ text: "value", stepMs: 5 }));
    const both = [test.text("a = █", { uri: "file:///a.ts" }), test.text("b = █", { uri: "file:///b.ts" })];
    expect(await Promise.all(both)).toEqual(["value", "value"]);
    expect(test.model.mostAtOnce).toBe(1);
  });

  it("is not superseded by one that was withdrawn before it came", async () => {
    const test = new ServiceUnderTest(() => ({ text: "value", stepMs: 5 }));
    const answer = test.text("a = █\n");
    await until(() => test.model.stepsRun > 0);
    expect(await test.text("a█ = \n", { signal: AbortSignal.abort("superseded") })).toBe("(superseded)");
    expect(await answer).toBe("value");
    expect(test.service.statisticsSnapshot().byReason.superseded).toBe(1);
  });

  it("tells a withdrawn request from a superseded one", async () => {
    const test = new ServiceUnderTest(() => ({ text: long, stepMs: 5 }));
    const editor = new AbortController();
    const answer = test.text("a = █", { signal: editor.signal });
    await until(() => test.model.stepsRun > 2);
    editor.abort();
    expect(await answer).toBe("(cancelled)");
    expect(test.model.stepsRun).toBeLessThan(10);
  });
});

describe("text that is known already", () => {
  it("is not asked for again while the user types it", async () => {
    const test = says("console.log(value);");
    expect(await test.text("  █\n}\n")).toBe("console.log(value);");
    expect(await test.text("  con█\n}\n")).toBe("sole.log(value);");
    expect(test.service.lastTrace?.outcome).toMatchObject({ source: "typedAsSuggested" });
    expect(test.model.requests).toHaveLength(1);
  });

  it("fits the bracket that the editor closed meanwhile", async () => {
    const test = says("log(value);");
    await test.text("console.█\n");
    expect(await test.text("console.log(█)\n")).toBe("value");
    expect(test.model.requests).toHaveLength(1);
  });

  it("is asked for again when the user types something else", async () => {
    const test = says("log");
    await test.text("console.█\n");
    await test.text("console.w█\n");
    expect(test.model.requests).toHaveLength(2);
  });

  it("comes back after undoing", async () => {
    const test = new ServiceUnderTest((prompt) => (prompt.includes("console.w") ? "arn" : "log(value);"));
    await test.text("console.█\n");
    await test.text("console.w█\n");
    expect(await test.text("console.█\n")).toBe("log(value);");
    expect(test.service.lastTrace?.outcome).toMatchObject({ source: "completionCache" });
    expect(test.model.requests).toHaveLength(2);
  });

  it("is not used where other text follows", async () => {
    const test = says("log(value);");
    await test.text("console.█\nfirst();\n");
    await test.text("console.█\nsecond();\n");
    expect(test.model.requests).toHaveLength(2);
  });

  it("is forgotten when settings change", async () => {
    const test = says("log(value);");
    await test.text("console.█\n");
    test.service.startAfresh();
    await test.text("console.l█\n");
    expect(test.model.requests).toHaveLength(2);
  });

  it("and everything that runs is withdrawn when settings change", async () => {
    const test = new ServiceUnderTest(() => ({ text: long, stepMs: 5 }));
    const both = [test.text("a = █", { uri: "file:///a.ts" }), test.text("b = █", { uri: "file:///b.ts" })];
    await until(() => test.model.stepsRun > 2);
    test.service.startAfresh();
    expect(await Promise.all(both)).toEqual(["(cancelled)", "(cancelled)"]);
    expect(test.model.requests).toHaveLength(1);
  });
});

describe("what is shown stays while it is typed", () => {
  const source = (test: ServiceUnderTest) => test.service.lastTrace?.outcome;

  it("with all its lines, from the first letter to the end of the first line", async () => {
    const block = "a = one(x)\n    b = two(a)\n    return b";
    const test = says(block);
    const at = (typed: string) => test.text(`def f(x):\n    ${typed}█\n\ny = 1\n`, { languageId: "python" });
    expect(await at("")).toBe(block);
    for (const typed of ["a", "a = on", "a = one(x)"]) {
      expect(await at(typed)).toBe(block.slice(typed.length));
      expect(source(test)).toMatchObject({ source: "typedAsSuggested" });
    }
    expect(await at("a = one(x)\n    b = tw")).toBe("o(a)\n    return b");
    expect(test.model.requests).toHaveLength(1);
  });

  it("with all its lines when it comes back from the cache", async () => {
    const block = "a = one(x)\n    return a";
    const test = new ServiceUnderTest((prompt) => (prompt.includes("zz") ? "9" : block));
    await test.text("def f(x):\n    █\n");
    await test.text("def f(x):\n    zz = █\n");
    expect(await test.text("def f(x):\n    a =█\n")).toBe(" one(x)\n    return a");
    expect(source(test)).toMatchObject({ source: "completionCache" });
  });

  it.each([
    ["at the end of the file", "x = foo█", "x = foo(█)", "(a)", "a"],
    ["before nothing but closers", "f([x = foo█])", "f([x = foo(█)])", "(a)", "a"],
    ["before a line", "x = foo█\ny = 1\n", "x = foo(█)\ny = 1\n", "(a)", "a"],
    ["as a quote", "x = █", "x = '█'", "'a'", "a"],
  ])("though the editor closes the bracket that was typed: %s", async (_where, before, after, answer, rest) => {
    const test = says(answer);
    await test.text(before);
    expect(await test.text(after)).toBe(rest);
    expect(test.model.requests).toHaveLength(1);
  });

  it.each([
    ["far above", (name: string) => `${name} = 1\n${"# filler line of text\n".repeat(300)}total =█\n`],
    ["far below", (name: string) => `total =█\n${"# filler line of text\n".repeat(30)}${name} = 1\n`],
  ])("and goes when the text changes %s", async (_where, document) => {
    const test: ServiceUnderTest = new ServiceUnderTest(() => (test.model.requests.length > 1 ? " omega" : " alpha"));
    expect(await test.text(document("alpha"))).toBe(" alpha");
    expect(await test.text(document("omega"))).toBe(" omega");
  });

  it("in a document of which only a part is looked at", async () => {
    const lines = "# filler line of text that goes on\n".repeat(2_000);
    const test = says("first();\nsecond();\nthird();");
    await test.text(`${lines}█\n`);
    expect(await test.text(`${lines}first();\nsec█\n`)).toBe("ond();\nthird();");
    expect(test.model.requests).toHaveLength(1);
  });
});

describe("a model that does not work", () => {
  it("answers with the reason, shows what to do, and recovers with other settings", async () => {
    const error = Object.assign(new Error("config.json is missing in /m. Choose another model."), { code: "badConfig" });
    let broken = true;
    const test: ServiceUnderTest = new ServiceUnderTest(() => "1", {}, async () => {
      if (broken) throw error;
      return test.model;
    });
    expect(await test.complete("x = █")).toEqual({ kind: "empty", reason: "engineFailed", detail: error.message });
    expect(test.statuses.at(-1)).toMatchObject({ state: "error", message: error.message, action: "selectModel" });
    broken = false;
    expect(await test.text("x = █")).toBe("(engineFailed)");
    await test.models.configure(parseSettings({ model: { path: "/other" } }).settings);
    expect(test.statuses.at(-1)).toMatchObject({ state: "starting", reason: null, message: null, action: null });
    expect(await test.text("x = █")).toBe("1");
    expect(test.statuses.at(-1)).toMatchObject({ state: "ready", model: "fake-model", action: null });
  });

  it("is given up after several failed generations and can be restarted", async () => {
    let broken = true;
    const test = new ServiceUnderTest(() => (broken ? { text: "", error: new Error("out of luck") } : "1"));
    for (let attempt = 0; attempt < 3; attempt++) expect(await test.text("x = █")).toBe("(engineFailed)");
    expect(test.statuses.at(-1)).toMatchObject({ state: "error", action: "restartEngine" });
    expect(test.model.closed).toBe(true);
    broken = false;
    await test.models.unload();
    expect(await test.text("x = █")).toBe("1");
  });

});

describe("a model that cannot fill in the middle", () => {
  it("is loaded, and completion says that it does not use it, and why", async () => {
    const test = new ServiceUnderTest(() => "1", { name: "chatty", fimFormat: undefined });
    expect(await test.complete("x = █")).toMatchObject({
      reason: "noFillInMiddle",
      detail: expect.stringMatching(/^chatty is not known to be trained .*pipo\.model\.fimFormat/),
    });
    expect(test.statuses.at(-1)).toMatchObject({ state: "disabled", model: "chatty", message: expect.stringContaining("chatty") });
    expect(test.model.closed).toBe(false);
    expect(test.model.requests).toHaveLength(0);
  });

  it("is used when the user names its format, without loading it again", async () => {
    let loads = 0;
    const test: ServiceUnderTest = new ServiceUnderTest(() => "1", { fimFormat: undefined }, async () => {
      loads += 1;
      return test.model;
    });
    expect(await test.text("x = █")).toBe("(noFillInMiddle)");
    expect(await test.text("x = █", { model: { fimFormat: "qwen" } })).toBe("1");
    expect(test.model.prompts[0]).toBe("<|fim_prefix|>x = <|fim_suffix|><|fim_middle|>");
    expect(test.statuses.at(-1)).toMatchObject({ state: "ready", reason: null, message: null });
    expect(loads).toBe(1);
  });

  it("names the token that its tokenizer lacks", async () => {
    const { CharacterTokenizer } = await import("../../support/fakeEngine.js");
    const tokenizer = new CharacterTokenizer(["<|fim_middle|>"]);
    const test = new ServiceUnderTest(() => "1", { tokenizer });
    expect(await test.complete("x = █")).toMatchObject({ reason: "noFillInMiddle", detail: expect.stringContaining("<|fim_middle|>") });
  });

  it("is let go of with its session when it is asked in another format, or unloaded", async () => {
    const test = new ServiceUnderTest(() => "1");
    await test.text("x = █");
    await test.text("y = █", { model: { fimFormat: "qwen" } });
    expect(test.model.sessionsClosed).toBe(1);
    await test.models.unload();
    expect(test.model.sessionsClosed).toBe(2);
  });
});

describe("loading", () => {
  it("is waited for, shown, and does not hold back a withdrawn request", async () => {
    let loaded: () => void = () => undefined;
    const test: ServiceUnderTest = new ServiceUnderTest(() => "1", {}, async (_settings, onProgress) => {
      onProgress(0.5);
      await new Promise<void>((resolve) => (loaded = resolve));
      return test.model;
    });
    const editor = new AbortController();
    const first = test.text("x = █", { signal: editor.signal });
    await until(() => test.statuses.some(({ progress }) => progress === 0.5));
    editor.abort();
    expect(await first).toBe("(cancelled)");
    const second = test.text("x = █");
    loaded();
    expect(await second).toBe("1");
  });

  it("of a model that is no longer wanted ends with that model freed", async () => {
    const opened: string[] = [];
    const test: ServiceUnderTest = new ServiceUnderTest(() => "1", {}, async ({ model }) => {
      opened.push(model.path);
      await until(() => opened.length === 2 || model.path === "/new");
      return model.path === "/new" ? test.model : old;
    });
    const { FakeModel } = await import("../../support/fakeEngine.js");
    const old = new FakeModel(() => "old");
    const answer = test.text("x = █");
    await until(() => opened.length === 1);
    await test.models.configure(parseSettings({ model: { path: "/new" } }).settings);
    void test.models.ready();
    expect(await answer).toBe("1");
    expect(opened).toEqual(["", "/new"]);
    expect(old.closed).toBe(true);
  });
});

describe("the status", () => {
  it("says busy while the model writes for long, and not at every keystroke", async () => {
    const test = new ServiceUnderTest((prompt) => ({ text: "x".repeat(20), stepMs: prompt.includes("slow") ? 30 : 0 }));
    const states = () => test.statuses.map(({ state }) => state);
    await test.text("fast = █\n");
    expect(states()).not.toContain("busy");
    await test.text("slow = █\n");
    expect(states().filter((state, index, all) => state !== all[index - 1]).slice(-2)).toEqual(["busy", "ready"]);
  });

  it("is not repeated while nothing changes", async () => {
    const test = says("value");
    await test.text("x█y");
    const sent = test.statuses.length;
    for (let times = 0; times < 5; times++) await test.text("x█y");
    expect(test.statuses).toHaveLength(sent);
  });

  it("carries the newest answer: where it came from, how long it took, or why there is none", async () => {
    const test = says("value");
    await test.text("x = █\n");
    expect(test.statuses.at(-1)).toMatchObject({ state: "ready", source: "model", lastLatencyMs: expect.any(Number), reason: null });
    await test.text("x█y");
    expect(test.statuses.at(-1)).toMatchObject({ state: "ready", source: "model", reason: "midWord", message: expect.any(String) });
    await test.text("x = █\n", { completion: { enabled: false } });
    expect(test.statuses.at(-1)).toMatchObject({ state: "disabled", reason: "disabled" });
    await test.text("x = █\n");
    expect(test.statuses.at(-1)).toMatchObject({ state: "ready", source: "typedAsSuggested", reason: null, message: null });
  });
});

describe("statistics", () => {
  it("count answers by source and reason, and acceptance once", async () => {
    const { complete, service } = bound(says("value"));
    await complete("x = █\n");
    await complete("x = va█\n");
    await complete("x█y\n");
    expect([service.accepted("1"), service.accepted("1"), service.accepted("77")]).toEqual([true, false, false]);
    expect(service.statisticsSnapshot()).toMatchObject({
      requests: 3,
      suggestions: 2,
      accepted: 1,
      acceptedCharacters: 5,
      bySource: { model: 1, typedAsSuggested: 1, completionCache: 0 },
      byReason: { midWord: 1, superseded: 0 },
      latencyMs: { count: 1 },
    });
  });
});

function bound(test: ServiceUnderTest) {
  return { complete: test.complete.bind(test), service: test.service, model: test.model };
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1));
}
