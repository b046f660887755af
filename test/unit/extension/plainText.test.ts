import { describe, expect, test } from "vitest";
import { labelText, markdownText, messageText, plainText } from "../../../extension/src/plainText";

const evil = "[Repair](command:workbench.action.files.newUntitledFile)";

describe("a text from outside", () => {
  test("is one line without control characters, and not endless", () => {
    expect(plainText(" a\tb\r\n\u001b[31mc\u0000\u202e d\u200b ")).toBe("a b [31mc d");
    expect(plainText("x".repeat(1_000), 10)).toBe(`${"x".repeat(9)}…`);
  });

  test("is no link in a message", () => {
    // What VS Code takes for a link in a notification.
    const link = /\[([^\]]+)\]\(((?:https?:\/\/|command:|file:)[^)\s]+)(?: (["'])(.+?)(\3))?\)/;
    expect(evil).toMatch(link);
    for (const text of [evil, `${evil}${evil}`, `[a]\u200b(${"command:x"})`, "[[a](b)](command:x)"]) expect(messageText(text)).not.toMatch(link);
    expect(messageText("a [b] (c) list[0]")).toBe("a [b] (c) list[0]");
  });

  test("is no icon in a label", () => {
    expect(labelText("$(zap) model $5 (new)")).toBe("$ (zap) model $5 (new)");
  });

  test("is nothing but itself in Markdown", () => {
    const text = markdownText(`${evil} <img src=x> ![i](http://x/y.png) https://x.example | **b** \`c\` $(zap) &amp;`);
    // Everything that Markdown reads has a backslash before it.
    expect(text.match(/(?<!\\)(?:\\\\)*[!-/:-@[\]^_`{-~]/g)?.every((mark) => mark.startsWith("\\")) ?? true).toBe(true);
    expect(text.replace(/\\([!-/:-@[-`{-~])/g, "$1")).toBe(`${evil} <img src=x> ![i](http://x/y.png) https://x.example | **b** \`c\` $(zap) &amp;`);
  });
});
