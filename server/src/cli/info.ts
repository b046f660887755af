import { Command } from "commander";
import type { CudaInfo } from "../engine/addon.js";
import { loadAddon } from "../engine/load.js";
import { bundledModels } from "../models/catalogue.js";
import { printJson, printLine } from "./report.js";

export function infoCommand(): Command {
  return new Command("info")
    .description("Show this machine as the engine sees it, and the bundled models.")
    .option("--json", "print one JSON object")
    .action(info);
}

async function info(flags: { json?: boolean }): Promise<void> {
  const host = loadAddon().hostInfo();
  const cuda = await loadAddon().cudaInfo();
  const models = await bundledModels();
  if (flags.json)
    return printJson({ ...host, cuda, node: process.version, platform: `${process.platform}-${process.arch}`, models });
  const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(1)} GB`;
  printLine(`pipo       ${host.version}, Node ${process.version}, ${process.platform}-${process.arch}`);
  printLine(`processor  ${host.cpu}, ${host.cores} cores`);
  printLine(`memory     ${gigabytes(host.availableMemory)} of ${gigabytes(host.totalMemory)} available`);
  printLine(`kernels    ${host.kernels.join(", ")}`);
  printLine(`cuda       ${cudaInWords(cuda, gigabytes)}`);
  for (const model of models) printLine(`model      ${model.name} ${model.version}, ${model.directory}`);
  if (models.length === 0) printLine("model      none is bundled; give --model <directory> to the other commands");
}

function cudaInWords({ device, reason }: CudaInfo, inWords: (bytes: number) => string): string {
  if (!device) return `not used: ${reason}`;
  const { name, capability, driver, freeMemory, totalMemory } = device;
  return `${name}, compute capability ${capability}, driver for CUDA ${driver}, ${inWords(freeMemory)} of ${inWords(totalMemory)} free`;
}
