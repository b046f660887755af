import { z } from "zod";
import { isMissing, messageOf, readExactly, withRegularFile, type FileFacts } from "../../files.js";
import { ModelError } from "../../modelError.js";
import { plainText } from "../../plainText.js";

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

export interface SafetensorsFile extends FileFacts {
  readonly tensors: readonly StoredTensor[];
}

/** The format's own limit; a longer header is a damaged length field. */
const maxHeaderBytes = 100 * 1024 * 1024;
const lengthFieldBytes = 8;
/** Models have thousands; a header full of tiny entries is not one of theirs. */
const maxTensors = 1 << 17;

/**
 * Reads and checks the header of a safetensors file; the data is not touched.
 * Throws `badFile` that names file and tensor, `io` when the file cannot be read.
 */
export async function readSafetensors(file: string): Promise<SafetensorsFile> {
  const { header, facts } = await readHeader(file);
  const dataStart = lengthFieldBytes + header.length;
  return { ...facts, tensors: parseHeader(file, header.toString("utf8"), dataStart, facts.size) };
}

async function readHeader(file: string): Promise<{ header: Buffer; facts: FileFacts }> {
  try {
    return await withRegularFile(file, async (handle, facts) => {
      const { size } = facts;
      if (size < lengthFieldBytes) throw badFile(file, `is only ${size} bytes long, too short for a safetensors file`);
      const lengthField = await readExactly(handle, facts, 0, lengthFieldBytes);
      const length = checkedHeaderLength(file, lengthField.readBigUInt64LE(), size);
      return { header: await readExactly(handle, facts, lengthFieldBytes, length), facts };
    });
  } catch (error) {
    if (!isMissing(error)) throw error;
    throw new ModelError("io", `${file} does not exist. Fetch the model again, or correct the path.`);
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
  shape: z.array(z.number().int().min(0)).max(8),
  data_offsets: z.tuple([z.number().int().min(0), z.number().int().min(0)]),
});

function parseHeader(file: string, text: string, dataStart: number, size: number): StoredTensor[] {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (error) {
    throw badFile(file, `has a header that is not valid JSON (${plainText(messageOf(error))})`);
  }
  if (typeof document !== "object" || document === null || Array.isArray(document)) {
    throw badFile(file, "has a header that is not a JSON object");
  }
  rejectDuplicates(file, text);
  const entries = Object.entries(document).filter(([name]) => name !== "__metadata__");
  if (entries.length > maxTensors) throw badFile(file, `declares ${entries.length} tensors, more than any model has`);
  const tensors = entries.map(([name, entry]) => parseEntry(file, name, entry, dataStart, size));
  checkCoverage(file, tensors, dataStart, size);
  return tensors;
}

function parseEntry(file: string, name: string, entry: unknown, dataStart: number, size: number): StoredTensor {
  const what = inWords(name);
  const parsed = entrySchema.safeParse(entry);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw badFile(file, `has a malformed entry for ${what} (${issue?.path.join(".")}: ${issue?.message})`);
  }
  const {
    dtype,
    shape,
    data_offsets: [begin, end],
  } = parsed.data;
  if (!Object.hasOwn(dtypeBytes, dtype))
    throw badFile(file, `stores ${what} as ${plainText(dtype)}, an element type that is not known`);
  const wanted = shape.reduce((product, dim) => product * dim, dtypeBytes[dtype as StoredDtype]);
  if (!Number.isSafeInteger(wanted) || end - begin !== wanted) {
    throw badFile(file, `gives ${what} ${end - begin} bytes, but ${dtype} [${shape.join(", ")}] needs ${wanted}`);
  }
  if (dataStart + end > size) {
    throw badFile(file, `ends at byte ${size}, but ${what} reaches to byte ${dataStart + end}; it is truncated`);
  }
  return { name, file, dtype: dtype as StoredDtype, shape, offset: dataStart + begin, bytes: wanted };
}

function inWords(name: string): string {
  return `tensor ${plainText(name)}`;
}

/** The data section is covered exactly once: no overlap, no hole, nothing after the last tensor. */
function checkCoverage(file: string, tensors: readonly StoredTensor[], dataStart: number, size: number): void {
  let end = dataStart;
  let previous = "the header";
  for (const tensor of [...tensors].sort((a, b) => a.offset - b.offset || a.bytes - b.bytes)) {
    const what = inWords(tensor.name);
    if (tensor.offset < end) throw badFile(file, `has ${what} overlapping ${previous}`);
    if (tensor.offset > end) {
      throw badFile(file, `has ${tensor.offset - end} unused bytes between ${previous} and ${what}`);
    }
    end = tensor.offset + tensor.bytes;
    previous = what;
  }
  if (end !== size) throw badFile(file, `has ${size - end} unexpected bytes after ${previous}`);
}

/** `JSON.parse` keeps the last of two equal keys without a word; a header with both is damaged. */
function rejectDuplicates(file: string, text: string): void {
  const seen = new Set<string>();
  for (const name of topLevelKeys(text)) {
    if (seen.has(name)) throw badFile(file, `declares ${inWords(name)} twice`);
    seen.add(name);
  }
}

/** Keys of the outermost object of valid JSON text, in order, repeated ones included. */
function* topLevelKeys(text: string): Generator<string> {
  const tokens = /["{}[\],:]/g;
  let depth = 0;
  let expectKey = false;
  for (let match = tokens.exec(text); match !== null; match = tokens.exec(text)) {
    const token = match[0];
    if (token === '"') {
      tokens.lastIndex = stringEnd(text, match.index);
      if (expectKey) yield JSON.parse(text.slice(match.index, tokens.lastIndex)) as string;
    } else if (token === "{" || token === "[") depth += 1;
    else if (token === "}" || token === "]") depth -= 1;
    expectKey = depth === 1 && (token === "{" || token === ",");
  }
}

/** The index behind the JSON string that starts at `start`. A pattern would need one step of stack for each character. */
function stringEnd(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); ; end = text.indexOf('"', end + 1)) {
    let escapes = 0;
    while (text[end - 1 - escapes] === "\\") escapes += 1;
    if (escapes % 2 === 0) return end + 1;
  }
}

function badFile(file: string, what: string): ModelError {
  return new ModelError("badFile", `${file} ${what}. Fetch the file again.`);
}
