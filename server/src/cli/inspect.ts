import { Command, Option } from "commander";
import type { DecodeMode, InspectedPosition, ScoredId } from "../engine/addon.js";
import { loadEngine } from "../engine/engine.js";
import { integerFrom, parseIds, resolveModel, withModelFlags, type ModelFlags } from "./options.js";
import { withProgressBar } from "./progressBar.js";
import { printJson, printLine } from "./report.js";

interface InspectFlags extends ModelFlags {
  readonly ids: Int32Array;
  readonly mode?: DecodeMode;
  readonly top: number;
  readonly json?: boolean;
}

export function inspectCommand(): Command {
  return withModelFlags(new Command("inspect"), "f32")
    .description("Show the logits of both tokens and the confidence for given ids, teacher-forced.")
    .requiredOption("--ids <list>", "token ids, separated by commas", parseIds)
    .addOption(
      new Option("--mode <mode>", "pairs or single tokens (default: pairs where the model has them)").choices([
        "pair",
        "plain",
      ]),
    )
    .option("--top <count>", "ids per position", integerFrom(1), 8)
    .option("--json", "print one JSON object")
    .action(inspect);
}

async function inspect(flags: InspectFlags): Promise<void> {
  // Inspecting is for single looks, often in f32: packed weights would fill the cache for nothing.
  const { directory, options } = await resolveModel({ ...flags, cache: false });
  const { native } = await withProgressBar((onProgress) => loadEngine(directory, options, onProgress));
  try {
    const mode = flags.mode ?? (native.info.modes.includes("pair") ? "pair" : "plain");
    const session = native.createSession({ maxPositions: flags.ids.length });
    const positions = await session.inspect(flags.ids, mode, flags.top);
    if (flags.json) printJson(toJson(mode, positions));
    else printPositions(mode, positions);
  } finally {
    await native.close();
  }
}

function toJson(mode: DecodeMode, positions: readonly InspectedPosition[]): object {
  const tuples = (scored: readonly ScoredId[]) => scored.map(({ id, logit }) => [id, logit]);
  if (mode === "plain")
    return { mode, positions: positions.map(({ index, first }) => ({ index, top: tuples(first) })) };
  const pairs = positions.map(({ index, first, second, confidence, preGate }) => ({
    index,
    first: tuples(first),
    second: second && tuples(second),
    confidence,
    ...(preGate !== null && { preGate }),
  }));
  return { mode, pairs };
}

function printPositions(mode: DecodeMode, positions: readonly InspectedPosition[]): void {
  const words = (scored: readonly ScoredId[]) => scored.map(({ id, logit }) => `${id} ${logit.toFixed(4)}`).join("  ");
  for (const { index, first, second, confidence, preGate } of positions) {
    printLine(`${mode === "pair" ? "pair" : "position"} ${index}`);
    printLine(`  first       ${words(first)}`);
    if (second) printLine(`  second      ${words(second)}`);
    if (confidence !== null) printLine(`  confidence  ${confidence.toFixed(6)}`);
    if (preGate !== null) printLine(`  pre-gate    ${preGate.toFixed(6)}`);
  }
}
