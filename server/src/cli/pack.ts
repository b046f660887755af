import path from "node:path";
import { Command } from "commander";
import { loadEngine } from "../engine/engine.js";
import { ModelError } from "../modelError.js";
import { resolveModel, withModelFlags, type ModelFlags } from "./options.js";
import { withProgressBar } from "./progressBar.js";
import { printLine } from "./report.js";

interface PackFlags extends ModelFlags {
  readonly output: string;
}

export function packCommand(): Command {
  return withModelFlags(new Command("pack"))
    .description("Write the packed weights of a model to a file that the engine maps without further work.")
    .requiredOption("--output <file>", "file to write")
    .action(pack);
}

async function pack(flags: PackFlags): Promise<void> {
  const { directory, options } = await resolveModel({ ...flags, device: "cpu", cache: false });
  const packedFile = path.resolve(flags.output);
  const { native } = await withProgressBar((onProgress) =>
    loadEngine(directory, { ...options, packedFile }, onProgress),
  );
  const { info } = native;
  await native.close();
  if (info.packedFileNote) throw new ModelError("io", `${packedFile} was not written: ${info.packedFileNote}`);
  const done = info.fromPackedFile ? "is up to date" : "written";
  printLine(`${packedFile} ${done}: ${info.name}, ${info.dtype}, ${(info.weightBytes / 1e6).toFixed(1)} MB of weights`);
}
