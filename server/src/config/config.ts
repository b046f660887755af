import type { DeepPartial, PipoSettings } from "../../protocol/settings.js";
import { settingsSchema } from "./schema.js";

export interface ParsedSettings {
  readonly settings: PipoSettings;
  /** One sentence per value that was not usable; the default stands in for it. */
  readonly problems: readonly string[];
}

export const defaultSettings: PipoSettings = deepFreeze(settingsSchema.parse({}));

/**
 * Settings from whatever a client sent. A wrong value costs only itself: it is replaced by its default
 * and reported, so that one typing error never switches everything off.
 */
export function parseSettings(raw: unknown): ParsedSettings {
  let candidate = plainObject(raw);
  const problems: string[] = [];
  for (;;) {
    const parsed = settingsSchema.safeParse(candidate);
    if (parsed.success) return { settings: deepFreeze(parsed.data), problems };
    for (const issue of parsed.error.issues) {
      const path = issue.path.slice(0, 2).map(String);
      problems.push(`pipo.${path.join(".")}: ${issue.message}. The default is used.`);
      candidate = without(candidate, path);
    }
  }
}

/** `upper` over `lower`, section by section; undefined and null sections count as absent. */
export function mergeSettings(
  lower: DeepPartial<PipoSettings> | undefined,
  upper: unknown,
): Record<string, unknown> {
  const merged: Record<string, unknown> = { ...plainObject(lower) };
  for (const [section, values] of Object.entries(plainObject(upper))) {
    merged[section] = isPlainObject(values) ? { ...plainObject(merged[section]), ...values } : values;
  }
  return merged;
}

function without(settings: Record<string, unknown>, [section, name]: readonly string[]): Record<string, unknown> {
  const copy = { ...settings };
  if (section === undefined) return {};
  const values = copy[section];
  if (name === undefined || !isPlainObject(values)) {
    delete copy[section];
  } else {
    const { [name]: _wrong, ...rest } = values;
    copy[section] = rest;
  }
  return copy;
}

function plainObject(value: unknown): Record<string, unknown> {
  return isPlainObject(value) ? value : {};
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function deepFreeze<T>(value: T): T {
  if (typeof value === "object" && value !== null) {
    Object.values(value).forEach(deepFreeze);
    Object.freeze(value);
  }
  return value;
}
