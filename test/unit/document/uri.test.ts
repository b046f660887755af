import { describe, expect, it } from "vitest";
import { canonicalUri, pathSegments } from "../../../server/src/document/uri.js";

describe("two spellings name one document", () => {
  it.each([
    ["file:///c%3A/Users/u/a.py", "file:///c:/Users/u/a.py"],
    ["file:///D:/Users/u/a.py", "file:///d:/Users/u/a.py"],
    ["file:///u/my%20dir/a.py", "file:///u/my dir/a.py"],
    ["file:///u/%E4%BD%A0/a.py", "file:///u/你/a.py"],
    ["file:///u/@scope/a.py", "file:///u/%40scope/a.py"],
    ["file:///home/me/a.py", "file:/home/me/a.py"],
    ["FILE:///a.py", "file:///a.py"],
    ["file://Server/share/a.py", "file://server/share/a.py"],
  ])("%s and %s", (one, other) => expect(canonicalUri(one)).toBe(canonicalUri(other)));
});

describe("two documents have two names", () => {
  it.each([
    ["file:///a.py", "file:///A.py"],
    ["file:///a/b.py", "file:///a%2Fb.py"],
    ["vscode-notebook-cell:/n.ipynb#W0", "vscode-notebook-cell:/n.ipynb#W1"],
    ["untitled:Untitled-1", "untitled:Untitled-2"],
    ["file:///a.py", "git:/a.py"],
    ["file:///a%b.py", "file:///a%c.py"],
  ])("%s and %s", (one, other) => expect(canonicalUri(one)).not.toBe(canonicalUri(other)));
});

it("takes a path apart", () => {
  expect(pathSegments("file:///a/./b/../c%20d?x#y")).toEqual(["a", "c d"]);
  expect(pathSegments("C:\\a\\b")).toEqual(["C:", "a", "b"]);
  expect(pathSegments("/a/b")).toEqual(["a", "b"]);
  expect(pathSegments("file:///..")).toEqual([]);
});
