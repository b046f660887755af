import { truncateSync, writeFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { readGguf } from "../../../server/src/checkpoints/gguf/header.js";
import {
  ggufBytes,
  ggufText,
  ggufTypes,
  tensorBytes,
  tinyGguf,
  u32,
  u64,
  writeGguf,
  type GgufContent,
  type GgufTensorSpec,
  type GgufType,
  type GgufValue,
} from "../../support/ggufFiles.js";
import { temporaryDirectory } from "../../support/modelFiles.js";

const types = Object.keys(ggufTypes) as GgufType[];

function written(bytes: Buffer | GgufContent): string {
  const file = path.join(temporaryDirectory(), "model.gguf");
  if (Buffer.isBuffer(bytes)) writeFileSync(file, bytes);
  else writeGguf(file, bytes);
  return file;
}

const noTensors: readonly GgufTensorSpec[] = [];
const withMetadata = (...entries: [string, GgufValue][]) => ({ metadata: new Map(entries), tensors: noTensors });
/** A file of hand-made parts behind magic, version and the two counts. */
const handMade = (tensors: number | bigint, entries: number | bigint, ...parts: Buffer[]) =>
  Buffer.concat([Buffer.from("GGUF"), u32(3), u64(tensors), u64(entries), ...parts]);
const tensorPart = (name: string, dims: readonly (number | bigint)[], type: number, offset: number | bigint) =>
  Buffer.concat([ggufText(name), u32(dims.length), ...dims.map(u64), u32(type), u64(offset)]);
const withTensors = (...parts: Buffer[]) => Buffer.concat([handMade(parts.length, 0, ...parts), Buffer.alloc(256)]);

test.each([2, 3])("version %i: every type of block lies where the writer put it", async (version) => {
  const content = tinyGguf({ types });
  const file = written({ ...content, version });
  const { tensors, size } = await readGguf(file);
  expect(tensors.map(({ name, dtype, shape }) => ({ name, type: dtype, shape }))).toEqual(
    content.tensors.map(({ name, type, shape }) => ({ name, type, shape })),
  );
  expect(new Set(tensors.map(({ dtype }) => dtype))).toEqual(new Set(types));
  expect(tensors.map(({ bytes }) => bytes)).toEqual(content.tensors.map(tensorBytes));
  const last = tensors.at(-1)!;
  expect(last.offset + last.bytes).toBe(size);
  expect(tensors.every(({ offset }) => offset % 32 === 0)).toBe(true);
});

test("another alignment moves the data", async () => {
  const content = tinyGguf();
  content.metadata.set("general.alignment", { u32: 256 });
  const { tensors } = await readGguf(written({ ...content, alignment: 256 }));
  expect(tensors.every(({ offset }) => offset % 256 === 0)).toBe(true);
});

test("values are decoded as their types, and strings only where somebody asks", async () => {
  const metadata = new Map<string, GgufValue>([
    ["a.text", { text: "grüß" }],
    ["a.count", { u64: 2 ** 40 }],
    ["a.negative", { i32: -3 }],
    ["a.real", { f32: 1e-6 }],
    ["a.flag", { bool: true }],
    ["a.texts", { texts: ["x", "", "ÿ"] }],
    ["a.types", { i32s: [1, -1] }],
  ]);
  const { metadata: read } = await readGguf(written({ metadata, tensors: [] }));
  expect(read.text("a.text")).toBe("grüß");
  expect(read.integer("a.count", 0, 2 ** 50)).toBe(2 ** 40);
  expect(read.integer("a.negative", -5, 0)).toBe(-3);
  expect(read.number("a.real")).toBe(1e-6);
  expect(read.flag("a.flag")).toBe(true);
  expect(read.texts("a.texts")!.all()).toEqual(["x", "", "ÿ"]);
  expect(read.texts("a.texts")!.at(2)).toBe("ÿ");
  expect([0, 1].map((i) => read.integers("a.types")!.at(i))).toEqual([1, -1]);
  expect(read.text("none")).toBeUndefined();
  expect(() => read.integer("a.count", 0, 10)).toThrow(/gives a\.count as 1099511627776; it must be between 0 and 10/);
  expect(() => read.integer("a.text", 0, 10)).toThrow(/gives a\.text as string; it must be a whole number/);
  expect(() => read.texts("a.types")).toThrow(/gives a\.types as array of i32; it must be an array of strings/);
});

const good = ggufBytes(tinyGguf());
const malformed: readonly [what: string, bytes: Buffer | GgufContent, message: RegExp][] = [
  ["no magic", Buffer.concat([Buffer.from("GGML"), good.subarray(4)]), /is not a GGUF file/],
  ["too short", good.subarray(0, 20), /has only 20 bytes/],
  ["cut inside the header", good.subarray(0, 400), /it is truncated or damaged|bytes follow/],
  ["cut inside the data", good.subarray(0, good.length - 64), /blk\.1\.ffn_down\.weight reaches to byte \d+; it is truncated/],
  ["more tensors than the file has bytes", handMade(1n << 60n, 0), /declares 11529215046068\d+ .* for its tensors, but only 8 bytes/],
  ["more metadata than the file has bytes", handMade(0, 1 << 20), /declares 1048576 .* for its metadata/],
  ["a string of 1 GiB", handMade(0, 1, u64(1 << 30), Buffer.alloc(100)), /declares 1073741824 .* for a key, but only 100/],
  ["a value of 1 GiB", handMade(0, 1, ggufText("k"), u32(8), u64(1 << 30), Buffer.alloc(100)), /1073741824 .* for the value of k/],
  ["an array of 2^61 numbers", handMade(0, 1, ggufText("k"), u32(9), u32(12), u64(1n << 61n), Buffer.alloc(99)), /the value of k/],
  ["an array of arrays", handMade(0, 1, ggufText("k"), u32(9), u32(9), u64(0), Buffer.alloc(99)), /an array of arrays as the value of k/],
  ["an unknown type of value", handMade(0, 1, ggufText("k"), u32(13), Buffer.alloc(99)), /the value of k the type 13/],
  ["an empty key", handMade(0, 1, u64(0), u32(4), u32(1), Buffer.alloc(9)), /a value without a key/],
  ["a repeated key", handMade(0, 2, ggufText("kk"), u32(4), u32(1), ggufText("kk"), u32(4), u32(1)), /the key kk twice/],
  ["alignment 0", withMetadata(["general.alignment", { u32: 0 }]), /general\.alignment as 0/],
  ["alignment 48", withMetadata(["general.alignment", { u32: 48 }]), /general\.alignment as 48; it must be a power of two/],
  ["alignment 2^30", withMetadata(["general.alignment", { u32: 2 ** 30 }]), /general\.alignment as 1073741824/],
  ["alignment as text", withMetadata(["general.alignment", { text: "32" }]), /general\.alignment as string; it must be a u32/],
  ["alignment as u64", withMetadata(["general.alignment", { u64: 32 }]), /general\.alignment as u64; it must be a u32/],
  ["a zero dimension", withTensors(tensorPart("t", [0, 4], 0, 0)), /tensor t the shape \[4, 0\]/],
  ["a product beyond 64 bits", withTensors(tensorPart("t", [1n << 32n, 1n << 32n], 0, 0)), /tensor t the shape/],
  ["a product that wraps to something small", withTensors(tensorPart("t", [1n << 63n, 2, 4], 0, 0)), /tensor t the shape/],
  ["dimensions larger than the file", withTensors(tensorPart("t", [64, 1000], 0, 0)), /tensor t the shape|truncated/],
  ["a million dimensions", handMade(1, 0, ggufText("t"), u32(1e6), Buffer.alloc(99)), /tensor t 1000000 dimensions/],
  ["no dimensions", handMade(1, 0, ggufText("t"), u32(0), Buffer.alloc(99)), /tensor t 0 dimensions/],
  ["five dimensions", withTensors(tensorPart("t", [1, 1, 1, 1, 1], 0, 0)), /tensor t 5 dimensions/],
  ["a negative type", withTensors(tensorPart("t", [4], 0xffffffff, 0)), /tensor t the type -1/],
  ["rows that no block divides", withTensors(tensorPart("t", [48], 2, 0)), /tensor t as Q4_0, but its rows of 48 are no multiple of 32/],
  ["an offset off the alignment", withTensors(tensorPart("t", [4], 0, 8)), /tensor t at 8, which is no multiple of 32/],
  ["an offset beyond the file", withTensors(tensorPart("t", [4], 0, 1n << 62n)), /tensor t reaches to byte/],
  ["overlapping tensors", withTensors(tensorPart("a", [16], 0, 0), tensorPart("b", [4], 0, 32)), /tensor b overlapping tensor a/],
  ["a repeated tensor", withTensors(tensorPart("a", [4], 0, 0), tensorPart("a", [4], 0, 32)), /tensor a twice/],
  ["a tensor without a name", withTensors(tensorPart("", [4, 4], 0, 0)), /names a tensor with nothing/],
  ["a name of 64 bytes", withTensors(tensorPart("n".repeat(64), [4], 0, 0)), /a name has 1 to 63 bytes/],
];

describe("a damaged file ends in one sentence that names it", () => {
  test.each(malformed)("%s", async (_, bytes, message) => {
    const file = written(bytes);
    const failure = await readGguf(file).catch((error: unknown) => error as Error);
    expect(failure).toMatchObject({ code: "badFile", message: expect.stringMatching(message) });
    expect((failure as Error).message).toContain(file);
  });
});

test.each([
  ["version 1", Buffer.concat([Buffer.from("GGUF"), u32(1), Buffer.alloc(64)]), /has version 1 of GGUF/],
  ["the other byte order", Buffer.concat([Buffer.from("GGUF"), Buffer.of(0, 0, 0, 3), Buffer.alloc(64)]), /other byte order/],
  ["MXFP4", withTensors(tensorPart("t", [32], 39, 0)), /stores tensor t as MXFP4, which is not read/],
  ["a type of the future", withTensors(tensorPart("t", [32], 77, 0)), /stores tensor t as type 77/],
])("%s is not read, in words", async (_, bytes, message) => {
  await expect(readGguf(written(bytes))).rejects.toMatchObject({
    code: "unsupported",
    message: expect.stringMatching(message),
  });
});

test("names out of a file are one plain line in a message", async () => {
  const name = "\u001b[31m[x](command:y)\nz\u202e";
  const error = await readGguf(written(withTensors(tensorPart(name, [4], 0, 8)))).catch((e: unknown) => e as Error);
  expect((error as Error).message).toMatch(/places tensor  ?\[31m\[x\] \(command:y\) z  ?at 8/);
  // eslint-disable-next-line no-control-regex -- control characters are what is looked for
  expect((error as Error).message).not.toMatch(/[\u0000-\u001f\u202e]/);
});

test("a header longer than what is read at first is read on", async () => {
  const content = tinyGguf();
  content.metadata.set("big", { texts: Array.from({ length: 40 }, () => "x".repeat(256 * 1024)) });
  const { metadata, tensors } = await readGguf(written(content));
  expect(metadata.texts("big")!.length).toBe(40);
  expect(tensors).toHaveLength(content.tensors.length);
});

test.each([0, 4, 23])("a file of %i bytes is refused", async (size) => {
  const file = written(good);
  truncateSync(file, size);
  await expect(readGguf(file)).rejects.toMatchObject({ code: "badFile" });
});

test("a file that is not there is an io error", async () => {
  const file = path.join(temporaryDirectory(), "none.gguf");
  await expect(readGguf(file)).rejects.toMatchObject({ code: "io", message: expect.stringContaining(file) });
});
