import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";
import { addonFileName, explainOpenFailure, loadAddon, openAddon } from "../../server/src/engine/load.js";
import { packageRoot } from "../../server/src/packageRoot.js";
import { temporaryDirectory } from "../support/modelFiles.js";

test("the addon is there and exports the contract", () => {
  const addon = loadAddon();
  expect(Object.keys(addon)).toEqual(expect.arrayContaining(["load", "hostInfo", "measureReadBandwidth"]));
  expect(loadAddon()).toBe(addon);
});

test.each([
  [
    "a text file",
    (_: Buffer) => Buffer.from("not a library\n".repeat(100)),
    /built for another system or processor, or is damaged/,
  ],
  [
    "an addon for another processor",
    (bytes: Buffer) => Buffer.concat([bytes.subarray(0, 18), Buffer.of(0xf3), bytes.subarray(19)]),
    /Install the package/,
  ],
])("%s is explained", (_, damage, message) => {
  const file = path.join(temporaryDirectory(), addonFileName);
  writeFileSync(file, damage(readFileSync(path.join(packageRoot(), "dist", addonFileName))));
  expect(() => openAddon(file)).toThrow(
    expect.objectContaining({ code: "unsupported", message: expect.stringMatching(message) }),
  );
  expect(() => openAddon(file)).toThrow(file);
});

test.each([
  [
    "/lib/libc.so.6: version `GLIBC_2.38' not found (required by x.node)",
    /needs GLIBC_2\.38, which this system does not have/,
  ],
  ["/lib/libstdc++.so.6: version `GLIBCXX_3.4.32' not found", /needs GLIBCXX_3\.4\.32/],
  [
    "dlopen(x.node): tried: 'x.node' (mach-o file, but is an incompatible architecture (have 'x86_64', need 'arm64'))",
    /another system or processor/,
  ],
  ["x.node: undefined symbol: napi_new", /does not fit this Node \(v\d+/],
  ["libm.so.6: cannot open shared object file: No such file or directory", /needs libm\.so\.6, which is not installed/],
  ["x.node: cannot open shared object file: No such file or directory", /another system or processor/],
  ["something new", /cannot be loaded: something new\. .*npm run build/],
])("the loader's words %j become something to do", (reason, message) => {
  expect(explainOpenFailure("x.node", reason)).toMatch(message);
});
