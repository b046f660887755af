import { readFile } from "node:fs/promises";
import type { ZodType } from "zod";
import { ModelError } from "./modelError.js";

/** Text of a file; undefined when it does not exist. Anything else that goes wrong is an `io` error with its path. */
export async function readTextIfExists(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw ioError(file, error);
  }
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
    throw new ModelError("badFile", `${file} is not valid JSON (${messageOf(error)}). Fetch the file again.`);
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const field = issue?.path.join(".") || "the top level";
  throw new ModelError(
    "badFile",
    `${file}: ${field}: ${issue?.message ?? "unexpected form"}. Fetch or correct the file.`,
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
  const shown = names.slice(0, most).join(", ");
  return names.length > most ? `${shown} and ${names.length - most} more` : shown;
}
