import { readFile } from "node:fs/promises";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { Command, Option } from "commander";
import { emptyReasonText, type CompletionTrace } from "../../protocol/messages.js";
import { ModelManager } from "../models/modelManager.js";
import type { CompletionRequest, CompletionResult } from "../completion/result.js";
import { CompletionService } from "../completion/service.js";
import { StatusReporter } from "../completion/statusReporter.js";
import { parseSettings } from "../config/config.js";
import type { DecodeMode } from "../engine/addon.js";
import { loadModel, type LoadedModel } from "../engine/engine.js";
import type { Logger } from "../log.js";
import { ioError } from "../files.js";
import { onInterrupt } from "./interrupt.js";
import { languageOf } from "./languages.js";
import { integerFrom, parseNumber, resolveModel, withModelFlags, type ModelFlags } from "./options.js";
import { withProgressBar } from "./progressBar.js";
import { printJson, printLine, printNote, UsageError } from "./report.js";

interface CompleteFlags extends ModelFlags {
  readonly mode?: DecodeMode;
  readonly threshold?: number;
  readonly maxTokens?: number;
  readonly minConfidence?: number;
  readonly timeLimit: number;
  readonly multiline: boolean;
  readonly json?: boolean;
}

export function completeCommand(): Command {
  return withModelFlags(new Command("complete"))
    .description("Suggest a completion at a place in a file, by the same code as in the editor.")
    .argument("<file:line:column>", "place of the cursor, counted from 1 as editors show it")
    .addOption(
      new Option("--mode <mode>", "pairs or single tokens (default: pairs where the model has them)").choices([
        "pair",
        "plain",
      ]),
    )
    .option(
      "--threshold <x>",
      "gate, 0 to 1: second tokens are kept from this confidence on (default: the model's)",
      parseNumber,
    )
    .option("--max-tokens <n>", "most tokens to write", integerFrom(1))
    .option(
      "--min-confidence <p>",
      "mean probability that the first tokens must have (default: as in the editor)",
      parseNumber,
    )
    .option("--time-limit <ms>", "milliseconds for writing", integerFrom(50), 60_000)
    .option("--no-multiline", "one line only")
    .option("--json", "print one JSON object with the suggestion and its statistics")
    .action(complete);
}

async function complete(place: string, flags: CompleteFlags): Promise<void> {
  const { file, line, column } = parsePlace(place);
  const read = await readFile(file, "utf8").catch((error: unknown) => {
    throw ioError(file, error);
  });
  // Editors show no byte order mark, and count none.
  const text = read.replace(/^\ufeff/, "");
  const offset = offsetOf(text, line, column, file);
  const { settings, problems } = parseSettings(settingsOf(flags));
  if (problems[0] !== undefined) throw new UsageError(problems[0]);
  // Opened here: a model that cannot be loaded is an error on the command line, not an empty answer.
  const model = await openModel(flags);
  const models = new ModelManager(
    async () => model,
    stderrLogger,
    () => undefined,
  );
  try {
    await models.configure(settings);
    const aborter = new AbortController();
    const request: CompletionRequest = {
      document: { uri: pathToFileURL(file).href, languageId: languageOf(file), version: 1, text },
      offset,
      position: { line: line - 1, character: column - 1 },
      invoked: true,
      settings,
      signal: aborter.signal,
    };
    await answer(models, model, request, () => aborter.abort(), flags);
  } finally {
    await models.unload();
  }
}

async function answer(
  models: ModelManager,
  model: LoadedModel,
  request: CompletionRequest,
  abort: () => void,
  flags: CompleteFlags,
): Promise<void> {
  const service = new CompletionService(models, new StatusReporter(() => undefined), stderrLogger);
  const stopListening = onInterrupt(abort);
  const result = await service.complete(request).finally(stopListening);
  const trace = service.lastTrace!;
  if (flags.json) return printJson(toJson(model, request, result, trace));
  if (result.kind === "suggestion") printLine(result.suggestion.text);
  else printNote(`No suggestion: ${emptyReasonText[result.reason]}${result.detail ? ` (${result.detail})` : ""}`);
  printNote(summary(trace));
}

async function openModel(flags: CompleteFlags): Promise<LoadedModel> {
  const { directory, options } = await resolveModel(flags);
  const model = await withProgressBar((onProgress) => loadModel(directory, options, onProgress));
  return flags.maxTokens === undefined ? model : withTokenLimit(model, flags.maxTokens);
}

/** The same model, whose sessions write at most so many tokens. */
function withTokenLimit(model: LoadedModel, most: number): LoadedModel {
  const { place, card, maxPositions: modelPositions, native, tokenizer, info } = model;
  return {
    place,
    card,
    maxPositions: modelPositions,
    native,
    tokenizer,
    info,
    createSession: (maxPositions) => {
      const session = model.createSession(maxPositions);
      return {
        generate: (request, onStep) =>
          session.generate({ ...request, maxNewTokens: Math.min(request.maxNewTokens, most) }, onStep),
        reset: () => session.reset(),
        close: () => session.close(),
      };
    },
    close: () => model.close(),
  };
}

function settingsOf(flags: CompleteFlags): object {
  const { minConfidence, threshold, mode, threads, timeLimit, multiline } = flags;
  return {
    completion: {
      timeLimitMs: timeLimit,
      multiline: multiline ? "auto" : "never",
      ...(minConfidence !== undefined && { minConfidence }),
    },
    engine: { threads, ...(threshold !== undefined && { threshold }), ...(mode && { mode }) },
  };
}

/** The file's own path may hold colons. */
export function parsePlace(place: string): { file: string; line: number; column: number } {
  const match = /^(.+):(\d+):(\d+)$/s.exec(place);
  const [line, column] = [Number(match?.[2]), Number(match?.[3])];
  if (!match || line < 1 || column < 1) throw new UsageError(`"${place}" is not FILE:LINE:COLUMN with numbers from 1.`);
  return { file: path.resolve(match[1]!), line, column };
}

/** Offset in UTF-16 units; lines end as the server counts them. A column behind the end of its line is an error rather than a guess. */
export function offsetOf(text: string, line: number, column: number, file: string): number {
  const lineBreaks = [...text.matchAll(/\r\n|\n|\r/g)];
  if (line > lineBreaks.length + 1) throw new UsageError(`${file} has ${lineBreaks.length + 1} lines; there is no line ${line}.`);
  const before = lineBreaks[line - 2];
  const start = before === undefined ? 0 : before.index + before[0].length;
  const length = (lineBreaks[line - 1]?.index ?? text.length) - start;
  if (column > length + 1)
    throw new UsageError(`Line ${line} of ${file} has ${length} characters; the last column is ${length + 1}.`);
  return start + column - 1;
}

function toJson(
  { card, info }: LoadedModel,
  { document, position, settings }: CompletionRequest,
  result: CompletionResult,
  trace: CompletionTrace,
): object {
  const { generation } = trace;
  const gate = generation && generation.accepted + generation.gated;
  return {
    model: card.name,
    backend: info.backend,
    dtype: info.dtype,
    threads: info.threads,
    threshold: settings.engine.threshold ?? card.defaultThreshold,
    file: document.uri,
    line: position.line + 1,
    column: position.character + 1,
    text: result.kind === "suggestion" ? result.suggestion.text : null,
    source: result.kind === "suggestion" ? result.suggestion.source : null,
    reason: result.kind === "empty" ? result.reason : null,
    detail: (result.kind === "empty" && result.detail) || null,
    acceptanceRate: gate ? generation.accepted / gate : null,
    ...generation,
    stages: trace.stages,
    totalMs: trace.totalMs,
  };
}

function summary({ generation, totalMs }: CompletionTrace): string {
  if (!generation) return `[${totalMs.toFixed(0)} ms]`;
  const { tokens, steps, tokensPerStep, accepted, gated, draftsSkipped, ttftMs, tpotMs } = generation;
  const preGate = draftsSkipped > 0 ? `, ${draftsSkipped} drafts skipped` : "";
  return `[${tokens} tokens in ${steps} steps (${tokensPerStep.toFixed(2)} per step, ${accepted} accepted, ${gated} rejected${preGate}), first after ${ttftMs.toFixed(1)} ms, then ${tpotMs.toFixed(2)} ms each]`;
}

const stderrLogger: Logger = {
  error: (message) => printNote(`pipo: ${message}`),
  warn: (message) => printNote(`pipo: ${message}`),
  info: () => undefined,
  debug: () => undefined,
};
