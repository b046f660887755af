import { readFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { defaultSettings, mergeSettings, parseSettings } from "../../../server/src/config/config.js";
import { settingsSchema } from "../../../server/src/config/schema.js";

interface JsonSchema {
  readonly type?: string | readonly string[];
  readonly default?: unknown;
  readonly enum?: readonly unknown[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly items?: JsonSchema;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly anyOf?: readonly JsonSchema[];
}

const manifest = JSON.parse(readFileSync(path.resolve(import.meta.dirname, "../../../package.json"), "utf8"));
const contributed: Readonly<Record<string, JsonSchema>> = Object.assign(
  {},
  ...manifest.contributes.configuration.map(({ properties }: { properties: object }) => properties),
);

/** What decides whether a value is allowed, the same from the manifest and from the schema. */
function constraints(schema: JsonSchema): object {
  const parts = schema.anyOf ?? [schema];
  const types = new Set(parts.flatMap(({ type }) => type ?? []));
  const of = (key: "enum" | "minimum" | "maximum" | "items") => parts.find((part) => part[key] !== undefined)?.[key];
  return {
    types: [...types].sort(),
    default: schema.default,
    enum: of("enum"),
    minimum: of("minimum"),
    maximum: of("maximum"),
    items: of("items"),
  };
}

function flatten(schema: JsonSchema): Record<string, object> {
  const sections = Object.entries(schema.properties ?? {});
  return Object.fromEntries(
    sections.flatMap(([section, { properties = {} }]) =>
      Object.entries(properties).map(([name, value]) => [`pipo.${section}.${name}`, constraints(value)]),
    ),
  );
}

describe("the manifest and the schema", () => {
  const schema = flatten(z.toJSONSchema(settingsSchema, { io: "input" }) as JsonSchema);

  it("have the same settings", () => {
    expect(Object.keys(schema).length).toBeGreaterThan(8);
    expect(Object.keys(contributed).filter((name) => name in schema).sort()).toEqual(Object.keys(schema).sort());
  });

  it.each(Object.entries(schema))("agree on %s", (name, expected) => {
    expect(constraints(contributed[name]!)).toEqual(expected);
  });

  it("know every setting that begins like those of the server", () => {
    const sections = new Set(Object.keys(schema).map((name) => name.split(".")[1]));
    const ofSections = Object.keys(contributed).filter((name) => sections.has(name.split(".")[1]));
    expect(ofSections.sort()).toEqual(Object.keys(schema).sort());
  });
});

describe("settings that a client sends", () => {
  it("are the defaults where there are none", () => {
    for (const nothing of [undefined, null, {}, [], "text", { completion: null }]) {
      expect(parseSettings(nothing).settings).toEqual(defaultSettings);
    }
  });

  it("lose only the value that is wrong, with a word about it", () => {
    const { settings, problems } = parseSettings({ completion: { maxLines: 0, enabled: false, exclude: [1] }, engine: 7 });
    expect(settings).toEqual({ ...defaultSettings, completion: { ...defaultSettings.completion, enabled: false } });
    expect(problems).toHaveLength(3);
    expect(problems.join(" ")).toMatch(/pipo\.completion\.maxLines: .*The default is used\./);
  });

  it("cannot be changed afterwards", () => {
    const { settings } = parseSettings({});
    expect(() => ((settings.completion as { enabled: boolean }).enabled = false)).toThrow(TypeError);
  });

  it("are laid over others section by section", () => {
    const merged = mergeSettings({ completion: { enabled: false, maxLines: 3 } }, { completion: { maxLines: 4 }, engine: null });
    expect(parseSettings(merged).settings.completion).toMatchObject({ enabled: false, maxLines: 4 });
  });
});
