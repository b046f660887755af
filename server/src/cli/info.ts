import { Command } from "commander";
import type { CudaInfo } from "../engine/addon.js";
import { loadAddon } from "../engine/load.js";
import { describeMachine } from "../engine/machine.js";
import { defaultCacheDirectory } from "../environment.js";
import { listModels } from "../models/modelList.js";
import { printJson, printLine } from "./report.js";

export function infoCommand(): Command {
  return new Command("info")
    .description("Show this machine as the engine sees it, and the models on it.")
    .option("--json", "print one JSON object")
    .action(info);
}

async function info(flags: { json?: boolean }): Promise<void> {
  const host = loadAddon().hostInfo();
  const cuda = await loadAddon().cudaInfo();
  const machine = await describeMachine(defaultCacheDirectory());
  const models = (await listModels(machine)).models.filter(({ path }) => path !== null);
  if (flags.json)
    return printJson({ ...machine, ...host, cuda, node: process.version, platform: `${process.platform}-${process.arch}`, models });
  const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(1)} GB`;
  printLine(`pipo       ${host.version}, Node ${process.version}, ${process.platform}-${process.arch}`);
  printLine(`processor  ${host.cpu}, ${host.cores} cores`);
  printLine(`memory     ${gigabytes(host.availableMemory)} of ${gigabytes(host.totalMemory)} available`);
  if (machine.readBandwidth !== undefined) printLine(`reads      ${gigabytes(machine.readBandwidth)}/s with ${machine.threads} threads`);
  printLine(`kernels    ${host.kernels.join(", ")}`);
  printLine(`cuda       ${cudaInWords(cuda, gigabytes)}`);
  for (const { title, path } of models) printLine(`model      ${title}, ${path}`);
  if (models.length === 0) printLine("model      none is here; pipo pull fetches one");
}

function cudaInWords({ device, reason }: CudaInfo, inWords: (bytes: number) => string): string {
  if (!device) return `not used: ${reason}`;
  const { name, capability, driver, freeMemory, totalMemory } = device;
  return `${name}, compute capability ${capability}, driver for CUDA ${driver}, ${inWords(freeMemory)} of ${inWords(totalMemory)} free`;
}
