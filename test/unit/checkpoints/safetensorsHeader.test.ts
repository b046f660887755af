import { readFileSync, truncateSync, writeFileSync } from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";
import { readSafetensors } from "../../../server/src/checkpoints/safetensors/header.js";
import { describeModel } from "../../support/described.js";
import { copyOfGolden, editHeader, temporaryDirectory, writeSafetensors, type Header } from "../../support/modelFiles.js";

const good: Header = {
  a: { dtype: "F32", shape: [2, 3], data_offsets: [0, 24] },
  b: { dtype: "BF16", shape: [4], data_offsets: [24, 32] },
};

function written(header: Header | string, data: number): string {
  const file = path.join(temporaryDirectory(), "model.safetensors");
  writeSafetensors(file, header, data);
  return file;
}

test("offsets are absolute in the file", async () => {
  const file = written({ ...good, __metadata__: { format: "pt" } as never }, 32);
  const { tensors, size } = await readSafetensors(file);
  expect(tensors.map((t) => [t.name, t.dtype, t.shape, t.bytes, t.offset - (size - 32)])).toEqual([
    ["a", "F32", [2, 3], 24, 0],
    ["b", "BF16", [4], 8, 24],
  ]);
});

test("a scalar and an empty tensor are fine", async () => {
  const { tensors } = await readSafetensors(
    written(
      {
        s: { dtype: "F32", shape: [], data_offsets: [0, 4] },
        e: { dtype: "F32", shape: [0, 5], data_offsets: [4, 4] },
      },
      4,
    ),
  );
  expect(tensors.map((t) => t.bytes)).toEqual([4, 0]);
});

const damaged: readonly [what: string, header: Header | string, data: number, message: RegExp][] = [
  ["data cut off", good, 31, /tensor b reaches to byte \d+; it is truncated/],
  ["data left over", good, 33, /1 unexpected bytes after tensor b/],
  ["overlap", { ...good, b: { ...good["b"]!, data_offsets: [20, 28] } }, 28, /tensor b overlapping tensor a/],
  [
    "hole",
    { ...good, b: { ...good["b"]!, data_offsets: [28, 36] } },
    36,
    /4 unused bytes between tensor a and tensor b/,
  ],
  [
    "span shorter than the shape",
    { a: { ...good["a"]!, data_offsets: [0, 20] } },
    20,
    /tensor a 20 bytes, but F32 \[2, 3\] needs 24/,
  ],
  ["offsets reversed", { a: { ...good["a"]!, data_offsets: [24, 0] } }, 24, /tensor a -24 bytes/],
  ["unknown element type", { a: { dtype: "F31", shape: [1], data_offsets: [0, 4] } }, 4, /tensor a as F31/],
  ["negative dimension", { a: { dtype: "F32", shape: [-1], data_offsets: [0, 4] } }, 4, /tensor a \(shape\.0/],
  [
    "dimensions beyond any number",
    { a: { dtype: "F32", shape: [2 ** 40, 2 ** 40], data_offsets: [0, 4] } },
    4,
    /tensor a/,
  ],
  ["missing offsets", '{"a":{"dtype":"F32","shape":[1]}}', 4, /tensor a \(data_offsets/],
  [
    "repeated name",
    '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    4,
    /tensor a twice/,
  ],
  ["header that is no JSON", '{"a":', 0, /not valid JSON/],
  ["header that is a list", "[1]", 0, /not a JSON object/],
];

test.each(damaged)("%s is named", async (_, header, data, message) => {
  const file = written(header, data);
  await expect(readSafetensors(file)).rejects.toMatchObject({
    code: "badFile",
    message: expect.stringMatching(message),
  });
  await expect(readSafetensors(file)).rejects.toThrow(file);
});

test("a braced name inside a string is not taken for a repeated key", async () => {
  const file = written(
    '{"a\\"{,\\"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"__metadata__":{"a":"b","x":"a"}}',
    4,
  );
  expect((await readSafetensors(file)).tensors.map((t) => t.name)).toEqual(['a"{,"b']);
});

test("an element type that is a word of JavaScript is unknown like any other", async () => {
  const file = written({ a: { dtype: "toString", shape: [1], data_offsets: [0, 4] } }, 4);
  await expect(readSafetensors(file)).rejects.toMatchObject({ code: "badFile" });
});

test("a string of 30 MB among the metadata takes no stack", async () => {
  const text = String.raw`\\\"`.repeat(7 << 20);
  const file = written(`{"__metadata__":{"note":"${text}"},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4);
  expect((await readSafetensors(file)).tensors).toHaveLength(1);
});

test("as many layers as a header can hold are an error about layers", async () => {
  const directory = copyOfGolden("tiny-08b");
  editHeader(path.join(directory, "model.safetensors"), (header) => {
    for (let i = 0; i < 20_000; ++i)
      header[`model.layers.${i}.x`] = { dtype: "F32", shape: [0], data_offsets: [0, 0] };
  });
  await expect(describeModel(directory)).rejects.toThrow(/num_hidden_layers 4, but the tensors hold 20000 layers/);
});

test.each([
  ["beyond the format's limit", 200n * 1024n * 1024n, /at most 104857600/],
  ["beyond the file", 4_000_000n, /truncated or damaged/],
  ["beyond 64-bit sense", 2n ** 63n, /at most/],
  ["zero", 0n, /truncated or damaged/],
])("a header length %s is refused without reading it", async (_, length, message) => {
  const file = path.join(copyOfGolden("tiny-08b"), "model.safetensors");
  const bytes = readFileSync(file);
  bytes.writeBigUInt64LE(length);
  writeFileSync(file, bytes);
  await expect(readSafetensors(file)).rejects.toMatchObject({
    code: "badFile",
    message: expect.stringMatching(message),
  });
});

test.each([0, 7, 8, 100])("a file cut to %i bytes is refused", async (size) => {
  const file = path.join(copyOfGolden("tiny-08b"), "model.safetensors");
  truncateSync(file, size);
  await expect(readSafetensors(file)).rejects.toMatchObject({ code: "badFile" });
});

test("a file that is not there is an io error", async () => {
  const file = path.join(temporaryDirectory(), "none.safetensors");
  await expect(readSafetensors(file)).rejects.toMatchObject({ code: "io", message: expect.stringContaining(file) });
});
