import type { FileHandle } from "node:fs/promises";
import type { DiskDtype } from "../../engine/addon.js";
import { isMissing, readExactly, withRegularFile, type FileFacts } from "../../files.js";
import { ModelError } from "../../modelError.js";
import { plainText } from "../../plainText.js";
import { badGguf, Cursor, NeedsMore } from "./cursor.js";
import { leastEntryBytes, Metadata, readEntry } from "./metadata.js";
import { foreignTypeName, tensorType } from "./tensorTypes.js";

/*
 * A reader of our own, and a strict one. `@huggingface/gguf` decodes every array into JavaScript values, tokens and merges
 * of a vocabulary among them, and takes counts as the file gives them; here a header is walked over, what nobody asks for
 * is never decoded, and no count is believed before it was compared with the size of the file.
 */

/** One tensor of a GGUF file. The offset is absolute in the file, in bytes; the shape has rows first. */
export interface GgufTensor {
  readonly name: string;
  readonly dtype: DiskDtype;
  readonly shape: readonly number[];
  readonly offset: number;
  readonly bytes: number;
}

export interface GgufFile extends FileFacts {
  readonly metadata: Metadata;
  readonly tensors: readonly GgufTensor[];
}

/** Read at first; the header of a model with 150,000 tokens and merges has 6 MB. */
const firstBytes = 8 * 1024 * 1024;
/** No vocabulary needs more. */
const maxHeaderBytes = 128 * 1024 * 1024;
const magic = "GGUF";
const fixedBytes = 24;

/** Whether a file begins as GGUF files do, whatever its name is. Throws `io` where it is no regular file. */
export async function isGgufFile(file: string): Promise<boolean> {
  return withRegularFile(file, async (handle, facts) => {
    if (facts.size < magic.length) return false;
    return (await readExactly(handle, facts, 0, magic.length)).toString("latin1") === magic;
  });
}

/**
 * Reads and checks the header of a GGUF file of version 2 or 3; the data is not touched. Throws `badFile` that names the
 * file and what is wrong, `unsupported` for types of tensors that are not read, `io` when the file cannot be read.
 */
export async function readGguf(file: string): Promise<GgufFile> {
  try {
    return await withRegularFile(file, readHeader);
  } catch (error) {
    if (!isMissing(error)) throw error;
    throw new ModelError("io", `${file} does not exist. Fetch the model again, or correct the path.`);
  }
}

/** Parses what was read; where the header goes on behind it, reads twice as much. */
async function readHeader(handle: FileHandle, facts: FileFacts): Promise<GgufFile> {
  for (let length = Math.min(firstBytes, facts.size); ; length = Math.min(2 * length, facts.size)) {
    if (length > maxHeaderBytes) throw badGguf(facts.file, "has a header longer than any model needs");
    const bytes = await readExactly(handle, facts, 0, length);
    try {
      return parseGguf(bytes, facts);
    } catch (error) {
      if (!(error instanceof NeedsMore)) throw error;
    }
  }
}

/** Parses the start of a GGUF file. Throws {@link NeedsMore} where the header goes on behind it. */
export function parseGguf(bytes: Buffer, facts: FileFacts): GgufFile {
  const { file, size } = facts;
  const cursor = new Cursor(file, bytes, size);
  checkVersion(cursor);
  const tensorCount = cursor.count("its tensors", leastTensorBytes);
  const entryCount = cursor.count("its metadata", leastEntryBytes);
  const entries: Parameters<typeof readEntry>[1] = new Map();
  for (let i = 0; i < entryCount; ++i) readEntry(cursor, entries);
  const metadata = new Metadata(file, bytes, entries);
  const alignment = alignmentOf(metadata);
  const declared = Array.from({ length: tensorCount }, () => readTensor(cursor));
  const dataStart = Math.ceil(cursor.offset / alignment) * alignment;
  const tensors = declared.map((tensor) => placeTensor(tensor, dataStart, alignment, facts));
  checkNames(file, tensors);
  checkOverlaps(file, tensors);
  return { ...facts, metadata, tensors };
}

function checkVersion(cursor: Cursor): void {
  const { file } = cursor;
  if (cursor.fileSize < fixedBytes) throw badGguf(file, `has only ${cursor.fileSize} bytes, too few for a GGUF file`);
  const start = cursor.take(magic.length, "its first bytes");
  if (cursor.bytes.toString("latin1", start, cursor.offset) !== magic) throw badGguf(file, "is not a GGUF file");
  const version = cursor.u32("its version");
  if (version === 2 || version === 3) return;
  if (version % 0x10000 === 0)
    throw new ModelError("unsupported", `${file} was written for machines of the other byte order. Convert it again.`);
  throw new ModelError(
    "unsupported",
    `${file} has version ${version} of GGUF; 2 and 3 are read. Convert the model again.`,
  );
}

function alignmentOf(metadata: Metadata): number {
  const key = "general.alignment";
  metadata.requireType(key, "u32");
  const alignment = metadata.integer(key, 1, 1 << 20) ?? 32;
  if ((alignment & (alignment - 1)) === 0) return alignment;
  throw badGguf(metadata.file, `gives ${key} as ${alignment}; it must be a power of two`);
}

interface DeclaredTensor {
  readonly name: string;
  /** Fastest-varying dimension first, as the file has them. */
  readonly dims: readonly number[];
  readonly typeId: number;
  /** From the start of the data. */
  readonly offset: number;
}

const maxNameBytes = 63;
const maxDims = 4;
/** A name of one character, a count of dimensions, one dimension, a type, an offset. */
const leastTensorBytes = 8 + 1 + 4 + 8 + 4 + 8;

function readTensor(cursor: Cursor): DeclaredTensor {
  const { file } = cursor;
  const name = cursor.text("the name of a tensor");
  if (name === "" || Buffer.byteLength(name) > maxNameBytes)
    throw badGguf(file, `names a tensor ${plainText(name) || "with nothing"}; a name has 1 to ${maxNameBytes} bytes`);
  const what = `tensor ${plainText(name)}`;
  const count = cursor.u32(what);
  if (count < 1 || count > maxDims) throw badGguf(file, `gives ${what} ${count} dimensions; 1 to ${maxDims} are known`);
  const dims = Array.from({ length: count }, () => cursor.u64(what));
  return { name, dims, typeId: cursor.u32(what), offset: cursor.u64(what) };
}

/** Works out where a tensor ends, in numbers that cannot overflow: each factor is checked before it is used. */
function placeTensor(tensor: DeclaredTensor, dataStart: number, alignment: number, facts: FileFacts): GgufTensor {
  const { file, size } = facts;
  const { name, dims, typeId, offset } = tensor;
  const what = `tensor ${plainText(name)}`;
  if (typeId >= 0x80000000) throw badGguf(file, `gives ${what} the type ${typeId | 0}`);
  const type = tensorType(typeId);
  if (!type) {
    throw new ModelError(
      "unsupported",
      `${file} stores ${what} as ${foreignTypeName(typeId)}, which is not read. ` +
        "Choose a file of another quantisation, such as Q4_K_M or Q8_0.",
    );
  }
  const values = dims.reduce((product, dim) => (dim === 0 ? NaN : product * dim), 1);
  const shape = [...dims].reverse();
  // Not even two bits a value: more cannot be in the file, and every larger product is caught here too.
  if (!(values <= 8 * size))
    throw badGguf(file, `gives ${what} the shape [${shape.join(", ")}], for which it has no room`);
  const { dtype, blockValues, blockBytes } = type;
  if (dims[0]! % blockValues !== 0)
    throw badGguf(file, `stores ${what} as ${dtype}, but its rows of ${dims[0]} are no multiple of ${blockValues}`);
  if (offset % alignment !== 0)
    throw badGguf(file, `places ${what} at ${offset}, which is no multiple of ${alignment}`);
  const bytes = (values / blockValues) * blockBytes;
  const end = dataStart + offset + bytes;
  if (end > size) throw badGguf(file, `ends at byte ${size}, but ${what} reaches to byte ${end}; it is truncated`);
  return { name, dtype, shape, offset: dataStart + offset, bytes };
}

function checkNames(file: string, tensors: readonly GgufTensor[]): void {
  const seen = new Set<string>();
  for (const { name } of tensors) {
    if (seen.has(name)) throw badGguf(file, `declares tensor ${plainText(name)} twice`);
    seen.add(name);
  }
}

function checkOverlaps(file: string, tensors: readonly GgufTensor[]): void {
  let end = 0;
  let previous = "";
  for (const tensor of [...tensors].sort((a, b) => a.offset - b.offset)) {
    if (tensor.offset < end)
      throw badGguf(file, `has tensor ${plainText(tensor.name)} overlapping tensor ${plainText(previous)}`);
    end = tensor.offset + tensor.bytes;
    previous = tensor.name;
  }
}
