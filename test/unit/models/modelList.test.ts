import { truncateSync, writeFileSync } from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";
import { modelTable } from "../../../server/src/cli/models.js";
import { catalogueEntry } from "../../../server/src/models/catalogue.js";
import type { Machine } from "../../../server/src/models/fit.js";
import { listModels } from "../../../server/src/models/modelList.js";
import { temporaryDirectory } from "../../support/modelFiles.js";

const machine: Machine = { kernels: "avx2", threads: 1, totalMemory: 8e9, availableMemory: 5e9, readBandwidth: 15e9 };
const discover = async () => [
  { name: "evil\u001b[31m\u202e\nname.gguf", path: "/models/evil.gguf", bytes: 3e9, program: "LM Studio" as const },
];

test("the list has the catalogue, what other programs keep, and the bundled model, each with what its choice needs", async () => {
  const folder = temporaryDirectory();
  const entry = catalogueEntry("qwen2.5-coder-1.5b")!;
  writeFileSync(path.join(folder, entry.file), "");
  truncateSync(path.join(folder, entry.file), entry.bytes);
  const { models, recommended, ...rest } = await listModels(machine, { folder, discover });
  expect(rest).toEqual({ folder });
  expect(recommended).toBe("qwen2.5-coder-0.5b");
  expect(models.map(({ setting, group, path: place }) => [setting, group, place !== null])).toEqual([
    ["qwen2.5-coder-0.5b", "catalogue", false],
    ["qwen2.5-coder-1.5b", "catalogue", true],
    ["qwen2.5-coder-7b", "catalogue", false],
    ["/models/evil.gguf", "found", true],
    ["", "bundled", true],
  ]);
  expect(models.find(({ group }) => group === "found")).toMatchObject({ title: "evil[31m name.gguf", fit: { kind: "tight" }, program: "LM Studio" });
  expect(models[2]?.fit?.words).toBe("too large for this machine: needs 6.1 GB, 5.0 GB free");
});

test("the table of the command line has columns that line up", async () => {
  const list = await listModels(machine, { folder: temporaryDirectory(), discover });
  const lines = modelTable(list);
  expect(lines[0]).toMatch(/^model +size +good for +licence +speed here +on this machine +here$/);
  expect(lines[1]).toMatch(/^qwen2\.5-coder-0\.5b +491 MB +completion, chat +Apache-2\.0 +about \d+ tokens\/s +fits well; recommended +no$/);
  expect(lines[1]?.indexOf("491 MB")).toBe(lines[0]?.indexOf("size"));
  expect(lines.join("\n")).toMatch(/evil\[31m name\.gguf +3\.0 GB +LM Studio +\/models\/evil\.gguf/);
});
