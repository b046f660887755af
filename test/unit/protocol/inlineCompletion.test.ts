import { describe, expect, it } from "vitest";
import { CancellationTokenSource, type InlineCompletionParams, InlineCompletionTriggerKind, type Position } from "vscode-languageserver/node";
import type { CompletionRequest, CompletionResult } from "../../../server/src/completion/result.js";
import { defaultSettings } from "../../../server/src/config/config.js";
import { OpenDocuments } from "../../../server/src/handlers/documents.js";
import { silentLogger } from "../../../server/src/log.js";
import { handleInlineCompletion } from "../../../server/src/handlers/inlineCompletion.js";

const uri = "file:///a.ts";

class Asked {
  request: CompletionRequest | undefined;

  constructor(
    private readonly text: string,
    private readonly answer: CompletionResult = { kind: "empty", reason: "emptyText" },
  ) {}

  async items(position: Position, context: Partial<InlineCompletionParams["context"]> = {}, source = new CancellationTokenSource()) {
    const documents = new OpenDocuments(silentLogger, () => undefined);
    documents.opened({ textDocument: { uri, languageId: "typescript", version: 3, text: this.text } });
    const params = { textDocument: { uri }, position, context: { triggerKind: InlineCompletionTriggerKind.Automatic, ...context } };
    const host = {
      document: (wanted: string) => documents.get(wanted),
      settingsFor: async () => defaultSettings,
      complete: async (request: CompletionRequest) => ((this.request = request), this.answer),
    };
    return handleInlineCompletion(host, params, source.token);
  }
}

describe("positions", () => {
  it.each([
    ["UTF-16 units", "a😀b", { line: 0, character: 3 }, 3],
    ["lines of CRLF documents", "a\r\nbc\r\n", { line: 1, character: 2 }, 5],
    ["beyond a line's end", "ab\r\ncd", { line: 0, character: 99 }, 2],
    ["the line after the last break", "a\n", { line: 1, character: 0 }, 2],
    ["an empty document", "", { line: 0, character: 0 }, 0],
    ["a line that does not exist", "a", { line: 4, character: 0 }, -1],
    ["negative numbers", "a", { line: -1, character: 0 }, -1],
    ["no numbers", "a", { line: 0, character: 0.5 }, -1],
  ])("count in %s", async (_what, text, position, offset) => {
    const asked = new Asked(text);
    await asked.items(position);
    expect(asked.request?.offset).toBe(offset);
  });
});

it("answers null for a document that is not open", async () => {
  const host = { document: () => undefined, settingsFor: async () => defaultSettings, complete: () => Promise.reject(new Error("asked")) };
  const params = { textDocument: { uri }, position: { line: 0, character: 0 }, context: { triggerKind: InlineCompletionTriggerKind.Invoked } };
  expect(await handleInlineCompletion(host, params, new CancellationTokenSource().token)).toBeNull();
});

it("answers null for an empty result", async () => {
  expect(await new Asked("a").items({ line: 0, character: 1 })).toBeNull();
});

it("makes a suggestion an item with a range in the cursor's line and a command that reports acceptance", async () => {
  const suggestion = { id: "7", text: "log(😀)", start: 8, end: 10, source: "model" } as const;
  const asked = new Asked("console.lo", { kind: "suggestion", suggestion });
  const selected = { range: { start: { line: 0, character: 8 }, end: { line: 0, character: 10 } }, text: "log" };
  expect(await asked.items({ line: 0, character: 10 }, { selectedCompletionInfo: selected })).toEqual([
    {
      insertText: "log(😀)",
      range: selected.range,
      command: { title: expect.any(String), command: "pipo.suggestionAccepted", arguments: ["7"] },
    },
  ]);
  expect(asked.request).toMatchObject({ selected: { start: 8, end: 10, text: "log" }, invoked: false });
});

it("tells an explicit request and passes withdrawal on", async () => {
  const source = new CancellationTokenSource();
  const asked = new Asked("a");
  await asked.items({ line: 0, character: 1 }, { triggerKind: InlineCompletionTriggerKind.Invoked }, source);
  expect(asked.request?.invoked).toBe(true);
  expect(asked.request?.signal.aborted).toBe(false);
  source.cancel();
  expect(asked.request?.signal.aborted).toBe(true);
});
