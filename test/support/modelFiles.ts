import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { onTestFinished } from "vitest";

/** Directory of a golden checkpoint. */
export function golden(name: string): string {
  return path.join(import.meta.dirname, "../golden", name);
}

/** Every golden checkpoint as it is opened: base and adapter where there is one. */
export const goldenModels = [
  { name: "tiny-08b", directory: golden("tiny-08b") },
  { name: "tiny-4b", directory: golden("tiny-4b") },
  { name: "tiny-9b", directory: golden("tiny-9b") },
  { name: "tiny-plain", directory: golden("tiny-plain") },
  { name: "tiny-pregate", directory: golden("tiny-pregate") },
  { name: "tiny-qwen2", directory: golden("tiny-qwen2") },
  { name: "tiny-qwen3", directory: golden("tiny-qwen3") },
  { name: "tiny-llama", directory: golden("tiny-llama") },
  { name: "tiny-llama-yarn", directory: golden("tiny-llama-yarn") },
  { name: "tiny-llama-linear", directory: golden("tiny-llama-linear") },
  { name: "tiny-lora", directory: golden("tiny-lora/base"), adapter: golden("tiny-lora/adapter") },
] as const;

/** Every golden GGUF file, `.gguf` beside `.json`. */
export const goldenGgufs = [
  "gguf/qwen2-f32",
  "gguf/qwen3-f16",
  "gguf/llama-q8_0",
  "gguf/llama-blocks-of-32",
  "gguf/llama-blocks-of-256",
  "gguf/llama-linear",
  "gguf/llama-yarn",
  "gguf/llama-llama3",
] as const;

/** A directory that goes away with the test. */
export function temporaryDirectory(): string {
  const directory = mkdtempSync(path.join(tmpdir(), "pipo-test-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** A golden checkpoint to damage. */
export function copyOfGolden(name: string): string {
  const directory = temporaryDirectory();
  cpSync(golden(name), directory, { recursive: true });
  return directory;
}

export interface TensorEntry {
  dtype: string;
  shape: number[];
  data_offsets: [number, number];
}
export type Header = Record<string, TensorEntry>;

/** Writes a safetensors file from a header (an object, or text to be wrong in any way) and the size of its data. */
export function writeSafetensors(file: string, header: Header | string, data: number | Buffer): void {
  const text = Buffer.from(typeof header === "string" ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  writeFileSync(file, Buffer.concat([length, text, typeof data === "number" ? Buffer.alloc(data) : data]));
}

/** Rewrites the header of a safetensors file in place; entries may be changed, renamed or removed. Data stays. */
export function editHeader(file: string, edit: (header: Header) => void): void {
  const bytes = readFileSync(file);
  const end = 8 + Number(bytes.readBigUInt64LE());
  const header = JSON.parse(bytes.subarray(8, end).toString()) as Header;
  edit(header);
  writeSafetensors(file, header, bytes.subarray(end));
}

/** Takes a tensor out of a file together with its bytes. */
export function removeTensor(file: string, name: string): void {
  const bytes = readFileSync(file);
  const dataStart = 8 + Number(bytes.readBigUInt64LE());
  const header = JSON.parse(bytes.subarray(8, dataStart).toString()) as Header;
  const [begin, end] = header[name]!.data_offsets;
  delete header[name];
  for (const entry of Object.values(header)) {
    if (entry.data_offsets && entry.data_offsets[0] >= end) {
      entry.data_offsets = [entry.data_offsets[0] - (end - begin), entry.data_offsets[1] - (end - begin)];
    }
  }
  const data = bytes.subarray(dataStart);
  writeSafetensors(file, header, Buffer.concat([data.subarray(0, begin), data.subarray(end)]));
}

export function editJson(file: string, edit: (document: Record<string, unknown>) => void): void {
  const document = JSON.parse(readFileSync(file, "utf8")) as Record<string, unknown>;
  edit(document);
  writeFileSync(file, JSON.stringify(document));
}
