import { z } from "zod";
import type { ServerInitializationOptions } from "../../protocol/settings.js";
import type { Logger } from "../log.js";

const place = z.string().min(1);
const schemas = {
  bundledModelPath: place,
  cacheDir: place,
  status: z.boolean(),
  settings: z.record(z.string(), z.unknown()),
} satisfies Record<keyof ServerInitializationOptions, z.ZodType>;

/** What a client sent along at the start. A value that is not usable counts as absent, with a word in the log. */
export function parseInitializationOptions(sent: unknown, log: Logger): ServerInitializationOptions {
  const options = typeof sent === "object" && sent !== null ? (sent as Record<string, unknown>) : {};
  const parsed: Record<string, unknown> = {};
  for (const [name, schema] of Object.entries(schemas)) {
    const value = options[name];
    if (value === undefined || value === null || value === "") continue;
    const { success, data, error } = schema.safeParse(value);
    if (success) parsed[name] = data;
    else log.warn(`initializationOptions.${name}: ${error.issues[0]?.message ?? "unexpected form"}. The default is used.`);
  }
  return parsed;
}
