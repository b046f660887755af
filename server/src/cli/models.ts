import { Command } from "commander";
import type { ListedModel, ModelList } from "../../protocol/messages.js";
import { describeMachine } from "../engine/machine.js";
import { defaultCacheDirectory } from "../environment.js";
import { gigabytes } from "../models/fit.js";
import { listModels } from "../models/modelList.js";
import { printJson, printLine } from "./report.js";

export function modelsCommand(): Command {
  return new Command("models")
    .description("List the models that can be fetched, and those that are on this machine.")
    .option("--json", "print one JSON object")
    .action(models);
}

async function models(flags: { json?: boolean }): Promise<void> {
  const list = await listModels(await describeMachine(defaultCacheDirectory()));
  if (flags.json) return printJson(list);
  for (const line of modelTable(list)) printLine(line);
  printLine();
  printLine(`Downloaded models are kept in ${list.folder}. pipo pull NAME fetches one; --model takes a name or a path.`);
}

/** A table of the catalogue, then one of what is on this machine already. */
export function modelTable({ models: all, recommended }: ModelList): readonly string[] {
  const fromCatalogue = all.filter(({ group }) => group === "catalogue");
  const here = all.filter(({ group }) => group !== "catalogue");
  return [
    ...table(["model", "size", "good for", "licence", "speed here", "on this machine", "here"], fromCatalogue.map((model) => catalogueRow(model, recommended))),
    ...(here.length === 0 ? [] : ["", ...table(["already here", "size", "kept by", "path"], here.map(hereRow))]),
  ];
}

function catalogueRow({ setting, path, bytes, abilities, licence, expected, fit }: ListedModel, recommended: string | null): readonly string[] {
  return [
    setting,
    bytes === null ? "" : gigabytes(bytes),
    abilities.join(", "),
    licence ?? "",
    expected === null ? "" : `about ${Math.round(expected.tokensPerSecond)} tokens/s`,
    `${fit?.words ?? ""}${setting === recommended ? "; recommended" : ""}`,
    path === null ? "no" : "yes",
  ];
}

function hereRow({ title, bytes, program, path }: ListedModel): readonly string[] {
  return [title, bytes === null ? "" : gigabytes(bytes), program ?? "bundled", path ?? ""];
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): readonly string[] {
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => row[column]!.length)));
  return all.map((row) => row.map((cell, column) => cell.padEnd(widths[column]!)).join("  ").trimEnd());
}
