import { describe, expect, it } from "vitest";
import type { DidChangeTextDocumentParams } from "vscode-languageserver/node";
import { OpenDocuments } from "../../../server/src/handlers/documents.js";
import { silentLogger } from "../../../server/src/log.js";

const uri = "file:///a.ts";

/** Documents with one of them open. The changes are what clients send, whether the protocol has it so or not. */
function opened(text: string, as = uri) {
  const closed: string[] = [];
  const warnings: string[] = [];
  const log = { ...silentLogger, warn: (message: string) => void warnings.push(message) };
  const documents = new OpenDocuments(log, (which) => closed.push(which));
  documents.opened({ textDocument: { uri: as, languageId: "typescript", version: 1, text } });
  const change = (contentChanges: readonly object[], version: number | null = 2, which = as) =>
    documents.changed({ textDocument: { uri: which, version }, contentChanges } as unknown as DidChangeTextDocumentParams);
  const textOf = (which = as) => documents.get(which)?.text.slice(0);
  return { documents, change, text: textOf, closed, warnings };
}

describe("an open document", () => {
  it("follows an editor's changes, whole and in part", () => {
    const { documents, change, text } = opened("one\ntwo");
    const start = { line: 1, character: 0 };
    const end = { line: 1, character: 3 };
    change([{ range: { start, end }, text: "2" }, { range: { start, end: start }, text: ">" }]);
    expect([text(), documents.get(uri)?.version]).toEqual(["one\n>2", 2]);
    change([{ text: "new" }, { range: { start: end, end: start }, text: "!" }], 3);
    expect(text()).toBe("new!");
  });

  it.each([
    ["a range that is null", { range: null, rangeLength: null, text: "new" }],
    ["a range that is undefined", { range: undefined, text: "new" }],
  ])("is replaced as a whole by a change with %s", (_what, change) => {
    const document = opened("old");
    document.change([change]);
    expect(document.text()).toBe("new");
  });

  it("takes a change without a version", () => {
    const { documents, change, text } = opened("old");
    change([{ text: "new" }], null);
    expect([text(), documents.get(uri)?.version]).toEqual(["new", 2]);
  });

  it("is unknown after a change that means nothing, and known when it is opened again", () => {
    const { documents, change, text, warnings } = opened("old");
    change([{ range: {}, text: "new" }]);
    expect(text()).toBeUndefined();
    expect(warnings).toEqual([expect.stringMatching(/not understood .*open it again/)]);
    documents.opened({ textDocument: { uri, languageId: "typescript", version: 5, text: "again" } });
    expect(text()).toBe("again");
  });

  it("is the same under other spellings of its name, and keeps its own", () => {
    const { documents, change, text, closed } = opened("old", "file:///c%3A/my%20dir/a.ts");
    change([{ text: "new" }], 2, "file:///C:/my dir/a.ts");
    expect(text("file:///c:/my%20dir/a.ts")).toBe("new");
    expect(documents.get("file:///c:/my dir/a.ts")?.uri).toBe("file:///c%3A/my%20dir/a.ts");
    documents.closed({ textDocument: { uri: "file:///c:/my%20dir/a.ts" } });
    expect([text(), closed]).toEqual([undefined, ["file:///c%3A/my%20dir/a.ts"]]);
  });

  it("tells of every state when it is over", () => {
    const { documents, change } = opened("old");
    const first = documents.get(uri)!;
    expect(first.changed.aborted).toBe(false);
    change([{ text: "new" }]);
    expect([first.changed.aborted, first.changed.reason]).toEqual([true, "superseded"]);
    const second = documents.get(uri)!;
    documents.closed({ textDocument: { uri } });
    expect(second.changed.aborted).toBe(true);
  });

  it("ignores changes of what is not open", () => {
    const { change, text } = opened("old");
    change([{ text: "new" }], 2, "file:///other.ts");
    expect([text(), text("file:///other.ts")]).toEqual(["old", undefined]);
  });
});
