import { describe, expect, it } from "vitest";
import { defaultSettings } from "../../../server/src/config/config.js";
import { Configuration } from "../../../server/src/handlers/configuration.js";
import { silentLogger } from "../../../server/src/log.js";

const off = { completion: { enabled: false } };

describe("settings of a document", () => {
  it("are asked of the editor once until they change", async () => {
    const asked: (string | undefined)[] = [];
    const answers: Record<string, unknown> = { "file:///a.md": off };
    const configuration = new Configuration(undefined, async (uri) => (asked.push(uri), answers[uri ?? ""] ?? null), silentLogger);
    expect((await configuration.settingsFor("file:///a.md")).completion.enabled).toBe(false);
    expect((await configuration.settingsFor("file:///b.ts")).completion.enabled).toBe(true);
    await configuration.settingsFor("file:///a.md");
    expect(asked).toEqual(["file:///a.md", "file:///b.ts"]);
    delete answers["file:///a.md"];
    configuration.changed(null);
    expect((await configuration.settingsFor("file:///a.md")).completion.enabled).toBe(true);
  });

  it("come from the start options and from what is sent later where the editor cannot be asked", async () => {
    const configuration = new Configuration({ completion: { maxLines: 2 } }, undefined, silentLogger);
    expect((await configuration.settingsFor("u")).completion).toMatchObject({ maxLines: 2, enabled: true });
    configuration.changed({ pipo: off });
    expect((await configuration.settingsFor("u")).completion).toMatchObject({ maxLines: 2, enabled: false });
    configuration.changed({ completion: { timeLimitMs: 100 } });
    expect((await configuration.settingsFor("u")).completion).toMatchObject({ timeLimitMs: 100, enabled: true });
  });

  it("are the defaults when the editor fails to answer", async () => {
    const warnings: string[] = [];
    const log = { ...silentLogger, warn: (message: string) => void warnings.push(message) };
    const configuration = new Configuration(undefined, () => Promise.reject(new Error("not now")), log);
    expect(await configuration.settingsFor("u")).toEqual(defaultSettings);
    expect(warnings).toEqual([expect.stringContaining("not now")]);
  });

  it("are complained about once, not once per document", async () => {
    const warnings: string[] = [];
    const log = { ...silentLogger, warn: (message: string) => void warnings.push(message) };
    const configuration = new Configuration(undefined, async () => ({ completion: { maxLines: -1 } }), log);
    for (const uri of ["a", "b", "c"]) await configuration.settingsFor(uri);
    expect(warnings).toHaveLength(1);
  });
});
