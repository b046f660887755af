import { open } from "node:fs/promises";
import { z } from "zod";
import { ioError, isMissing, messageOf } from "../files.js";
import { ModelError } from "../modelError.js";

/** One tensor of a safetensors file as its header declares it. Offsets are absolute in the file, in bytes. */
export interface StoredTensor {
  readonly name: string;
  readonly file: string;
  readonly dtype: StoredDtype;
  readonly shape: readonly number[];
  readonly offset: number;
  readonly bytes: number;
}

/** Element types of the format and their sizes in bytes. */
const dtypeBytes = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E5M2: 1,
  F8_E4M3: 1,
  I16: 2,
  U16: 2,
  F16: 2,
  BF16: 2,
  I32: 4,
  U32: 4,
  F32: 4,
  F64: 8,
  I64: 8,
  U64: 8,
} as const;
export type StoredDtype = keyof typeof dtypeBytes;

export interface SafetensorsFile {
  readonly file: string;
  readonly size: number;
  readonly mtimeNs: bigint;
  readonly tensors: readonly StoredTensor[];
}

/** The format's own limit; a longer header is a damaged length field. */
const maxHeaderBytes = 100 * 1024 * 1024;
const lengthFieldBytes = 8;

/**
 * Reads and checks the header of a safetensors file; the data is not touched.
 * Throws `badFile` that names file and tensor, `io` when the file cannot be read.
 */
export async function readSafetensors(file: string): Promise<SafetensorsFile> {
  const { header, size, mtimeNs } = await readHeader(file);
  const dataStart = lengthFieldBytes + header.length;
  return { file, size, mtimeNs, tensors: parseHeader(file, header.toString("utf8"), dataStart, size) };
}

async function readHeader(file: string): Promise<{ header: Buffer; size: number; mtimeNs: bigint }> {
  const handle = await open(file, "r").catch((error: unknown) => {
    throw isMissing(error)
      ? new ModelError("io", `${file} does not exist. Fetch the model again, or correct the path.`)
      : ioError(file, error);
  });
  try {
    const stat = await handle.stat({ bigint: true });
    const size = Number(stat.size);
    if (size < lengthFieldBytes) throw badFile(file, `is only ${size} bytes long, too short for a safetensors file`);
    const lengthField = Buffer.alloc(lengthFieldBytes);
    await handle.read(lengthField, 0, lengthFieldBytes, 0);
    const length = checkedHeaderLength(file, lengthField.readBigUInt64LE(), size);
    const header = Buffer.alloc(length);
    const { bytesRead } = await handle.read(header, 0, length, lengthFieldBytes);
    if (bytesRead < length) throw badFile(file, `ends inside its header`);
    return { header, size, mtimeNs: stat.mtimeNs };
  } catch (error) {
    throw error instanceof ModelError ? error : ioError(file, error);
  } finally {
    await handle.close();
  }
}

function checkedHeaderLength(file: string, length: bigint, size: number): number {
  if (length > BigInt(maxHeaderBytes)) {
    throw badFile(file, `declares a header of ${length} bytes; the format allows at most ${maxHeaderBytes}`);
  }
  if (length < 2n || Number(length) > size - lengthFieldBytes) {
    throw badFile(
      file,
      `declares a header of ${length} bytes, but the file has ${size} in all; it is truncated or damaged`,
    );
  }
  return Number(length);
}

const entrySchema = z.object({
  dtype: z.string(),
  shape: z.array(z.number().int().min(0)),
  data_offsets: z.tuple([z.number().int().min(0), z.number().int().min(0)]),
});

function parseHeader(file: string, text: string, dataStart: number, size: number): StoredTensor[] {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (error) {
    throw badFile(file, `has a header that is not valid JSON (${messageOf(error)})`);
  }
  if (typeof document !== "object" || document === null || Array.isArray(document)) {
    throw badFile(file, "has a header that is not a JSON object");
  }
  rejectDuplicates(file, text);
  const tensors = Object.entries(document)
    .filter(([name]) => name !== "__metadata__")
    .map(([name, entry]) => parseEntry(file, name, entry, dataStart, size));
  checkCoverage(file, tensors, dataStart, size);
  return tensors;
}

function parseEntry(file: string, name: string, entry: unknown, dataStart: number, size: number): StoredTensor {
  const parsed = entrySchema.safeParse(entry);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw badFile(file, `has a malformed entry for tensor ${name} (${issue?.path.join(".")}: ${issue?.message})`);
  }
  const {
    dtype,
    shape,
    data_offsets: [begin, end],
  } = parsed.data;
  if (!(dtype in dtypeBytes))
    throw badFile(file, `stores tensor ${name} as ${dtype}, an element type that is not known`);
  const wanted = shape.reduce((product, dim) => product * dim, dtypeBytes[dtype as StoredDtype]);
  if (!Number.isSafeInteger(wanted) || end - begin !== wanted) {
    throw badFile(
      file,
      `gives tensor ${name} ${end - begin} bytes, but ${dtype} [${shape.join(", ")}] needs ${wanted}`,
    );
  }
  if (dataStart + end > size) {
    throw badFile(file, `ends at byte ${size}, but tensor ${name} reaches to byte ${dataStart + end}; it is truncated`);
  }
  return { name, file, dtype: dtype as StoredDtype, shape, offset: dataStart + begin, bytes: wanted };
}

/** The data section is covered exactly once: no overlap, no hole, nothing after the last tensor. */
function checkCoverage(file: string, tensors: readonly StoredTensor[], dataStart: number, size: number): void {
  let end = dataStart;
  let previous = "the header";
  for (const tensor of [...tensors].sort((a, b) => a.offset - b.offset || a.bytes - b.bytes)) {
    if (tensor.offset < end) throw badFile(file, `has tensor ${tensor.name} overlapping ${previous}`);
    if (tensor.offset > end) {
      throw badFile(file, `has ${tensor.offset - end} unused bytes between ${previous} and tensor ${tensor.name}`);
    }
    end = tensor.offset + tensor.bytes;
    previous = `tensor ${tensor.name}`;
  }
  if (end !== size) throw badFile(file, `has ${size - end} unexpected bytes after ${previous}`);
}

/** `JSON.parse` keeps the last of two equal keys without a word; a header with both is damaged. */
function rejectDuplicates(file: string, text: string): void {
  const seen = new Set<string>();
  for (const name of topLevelKeys(text)) {
    if (seen.has(name)) throw badFile(file, `declares tensor ${name} twice`);
    seen.add(name);
  }
}

/** Keys of the outermost object of valid JSON text, in order, repeated ones included. */
function* topLevelKeys(text: string): Generator<string> {
  const tokens = /"(?:[^"\\]|\\.)*"|[{}[\],:]/g;
  let depth = 0;
  let expectKey = false;
  for (let match = tokens.exec(text); match !== null; match = tokens.exec(text)) {
    const token = match[0];
    if (token === "{" || token === "[") depth += 1;
    else if (token === "}" || token === "]") depth -= 1;
    else if (token.startsWith('"') && depth === 1 && expectKey) yield JSON.parse(token) as string;
    expectKey = depth === 1 && (token === "{" || token === ",");
  }
}

function badFile(file: string, what: string): ModelError {
  return new ModelError("badFile", `${file} ${what}. Fetch the file again.`);
}
