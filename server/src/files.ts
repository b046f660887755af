import { constants } from "node:fs";
import { open, type FileHandle } from "node:fs/promises";
import type { ZodType } from "zod";
import { ModelError } from "./modelError.js";
import { plainText } from "./plainText.js";

/** More than any tokenizer or config needs; longer text is not what it says it is. */
const maxTextBytes = 256 * 1024 * 1024;

/** What one regular file is, taken from the open handle. */
export interface FileFacts {
  readonly file: string;
  readonly size: number;
  readonly mtimeNs: bigint;
}

/**
 * Opens a regular file, reads from it with `use` and closes it. A pipe or a device is refused without waiting for
 * whoever writes into it. Throws `io` with the path; a missing file keeps its system error for {@link isMissing}.
 */
export async function withRegularFile<T>(
  file: string,
  use: (handle: FileHandle, facts: FileFacts) => Promise<T>,
): Promise<T> {
  // Without O_NONBLOCK, which Windows does not have, opening a pipe waits for ever.
  const handle = await open(file, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)).catch((error: unknown) => {
    throw isMissing(error) ? error : ioError(file, error);
  });
  try {
    const stat = await handle.stat({ bigint: true });
    if (!stat.isFile()) throw new ModelError("io", `${file} is not a regular file. Give the file itself.`);
    return await use(handle, { file, size: Number(stat.size), mtimeNs: stat.mtimeNs });
  } catch (error) {
    throw error instanceof ModelError ? error : ioError(file, error);
  } finally {
    await handle.close();
  }
}

/** Reads `length` bytes from `position` on; throws `io` where the file ends before. */
export async function readExactly(
  handle: FileHandle,
  { file }: FileFacts,
  position: number,
  length: number,
): Promise<Buffer> {
  const bytes = Buffer.allocUnsafeSlow(length);
  for (let done = 0; done < length; ) {
    const { bytesRead } = await handle.read(bytes, done, length - done, position + done);
    if (bytesRead === 0) throw new ModelError("io", `${file} became shorter while it was read. Load it again.`);
    done += bytesRead;
  }
  return bytes;
}

/** Text of a file; undefined when it does not exist. Anything else that goes wrong is an `io` error with its path. */
export async function readTextIfExists(file: string): Promise<string | undefined> {
  try {
    return await withRegularFile(file, async (handle, facts) => {
      if (facts.size > maxTextBytes) throw tooLong(facts);
      return (await readExactly(handle, facts, 0, facts.size)).toString("utf8");
    });
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

function tooLong({ file, size }: FileFacts): ModelError {
  return new ModelError("badFile", `${file} has ${size} bytes, more than such a file ever needs. Fetch it again.`);
}

export async function readText(file: string): Promise<string> {
  const text = await readTextIfExists(file);
  if (text === undefined)
    throw new ModelError("io", `${file} does not exist. Check the path or fetch the model again.`);
  return text;
}

/** Parses JSON text and checks its form; the error names the file and the field. */
export function parseJson<T>(file: string, text: string, schema: ZodType<T>): T {
  let value: unknown;
  try {
    value = JSON.parse(text.charCodeAt(0) === 0xfeff ? text.slice(1) : text);
  } catch (error) {
    throw new ModelError("badFile", `${file} is not valid JSON (${plainText(messageOf(error))}). Fetch the file again.`);
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const field = plainText(issue?.path.join(".") || "the top level");
  throw new ModelError(
    "badFile",
    `${file}: ${field}: ${plainText(issue?.message ?? "unexpected form")}. Fetch or correct the file.`,
  );
}

export async function readJsonIfExists<T>(file: string, schema: ZodType<T>): Promise<T | undefined> {
  const text = await readTextIfExists(file);
  return text === undefined ? undefined : parseJson(file, text, schema);
}

export function ioError(file: string, error: unknown): ModelError {
  return new ModelError("io", `${file} cannot be read: ${messageOf(error)}. Check the file and its permissions.`, {
    cause: error,
  });
}

export function isMissing(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  return code === "ENOENT" || code === "ENOTDIR";
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** `a, b, c and 4 more`: enough names to act on without flooding a message. */
export function listNames(names: readonly string[], most = 5): string {
  const shown = names
    .slice(0, most)
    .map((name) => plainText(name))
    .join(", ");
  return names.length > most ? `${shown} and ${names.length - most} more` : shown;
}
