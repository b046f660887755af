import { text as readAll } from "node:stream/consumers";
import { Command, Option } from "commander";
import type { DecodeMode, DraftContext, GenerateResult, SamplingOptions, Step } from "../engine/addon.js";
import { describe, openEngine, requireTokenizer, toGenerateRequest, type LoadedEngine } from "../engine/engine.js";
import type { Tokenizer } from "../tokenizer/tokenizer.js";
import { onInterrupt } from "./interrupt.js";
import { integerFrom, parseIds, parseNumber, resolveModel, withModelFlags, type ModelFlags } from "./options.js";
import { withProgressBar } from "./progressBar.js";
import { printJson, printLine, printNote, UsageError } from "./report.js";
import { samplingOf, withSamplingFlags } from "./samplingFlags.js";

interface GenerateFlags extends ModelFlags, SamplingOptions {
  readonly prompt?: string;
  readonly ids?: Int32Array;
  readonly mode?: DecodeMode;
  readonly threshold?: number;
  readonly preGate?: number;
  readonly maxTokens: number;
  readonly draftContext: DraftContext;
  readonly logprobs?: boolean;
  readonly json?: boolean;
}

export function generateCommand(): Command {
  return withSamplingFlags(withModelFlags(new Command("generate")))
    .description("Continue a text (--prompt, or standard input) or a list of token ids.")
    .option("--prompt <text>", "text to continue; names of special tokens count as the tokens")
    .option("--ids <list>", "token ids to continue, separated by commas", parseIds)
    .addOption(
      new Option("--mode <mode>", "pairs or single tokens (default: pairs where the model has them)").choices([
        "pair",
        "plain",
      ]),
    )
    .option(
      "--threshold <x>",
      "gate: second tokens are kept from this confidence on; below 0 always, from 1 never (default: the model's)",
      parseNumber,
    )
    .option(
      "--pre-gate <x>",
      "no draft step where the pre-gate's value is below this; 0 switches it off (default: the model's)",
      parseNumber,
    )
    .option("--max-tokens <n>", "most tokens to write", integerFrom(1), 128)
    .addOption(
      new Option("--draft-context <rows>", "rows that the draft head sees")
        .choices(["full", "generated", "self"])
        .default("full"),
    )
    .option("--logprobs", "add log-probabilities to the JSON")
    .option("--json", "print one JSON object with steps and statistics")
    .action(generate);
}

async function generate(flags: GenerateFlags): Promise<void> {
  if (flags.prompt !== undefined && flags.ids) throw new UsageError("Give either --prompt or --ids.");
  const { directory, options } = await resolveModel(flags);
  const described = await describe(directory, options);
  if (flags.preGate !== undefined && !described.description.config.pipo?.preGate)
    throw new UsageError(`${described.card.name} has no pre-gate. Leave --pre-gate out, or choose a model with one.`);
  // Ids need no tokenizer; with one they are shown as text all the same.
  const tokenizer = flags.ids ? described.tokenizer : requireTokenizer(described);
  const promptIds = flags.ids ?? tokenizer!.encodeWithSpecialTokens(flags.prompt ?? (await readStandardInput()));
  if (promptIds.length === 0)
    throw new UsageError("The prompt is empty. Give --prompt, --ids, or text on standard input.");
  const engine = await withProgressBar((onProgress) => openEngine(described, options, onProgress));
  try {
    await run(engine, tokenizer, promptIds, flags);
  } finally {
    await engine.native.close();
  }
}

async function readStandardInput(): Promise<string> {
  if (process.stdin.isTTY) throw new UsageError("Give --prompt, --ids, or text on standard input.");
  return readAll(process.stdin);
}

async function run(
  engine: LoadedEngine,
  tokenizer: Tokenizer | undefined,
  promptIds: Int32Array,
  flags: GenerateFlags,
): Promise<void> {
  const { threshold, preGate, mode, maxTokens: maxNewTokens, draftContext, logprobs = false } = flags;
  const request = toGenerateRequest(
    {
      promptIds,
      maxNewTokens,
      draftContext,
      logprobs,
      sampling: samplingOf(flags),
      ...(threshold !== undefined && { threshold }),
      ...(preGate !== undefined && { preGateThreshold: preGate }),
      ...(mode && { mode }),
    },
    engine,
  );
  // Enough for the worst case, one token per step; where the model has less, its end is a stop reason.
  const maxPositions = Math.min(promptIds.length + maxNewTokens, engine.maxPositions);
  const session = engine.native.createSession({ maxPositions });
  const writer = new Writer(tokenizer, new Set(request.stopIds), /*stream=*/ !flags.json);
  const stopListening = onInterrupt(() => session.cancel());
  const result = await session.generate(request, (step) => writer.add(step)).finally(stopListening);
  writer.end();
  if (flags.json) printJson(toJson(engine, request, result, writer));
  else printNote(summary(result));
}

/** Collects steps, and prints their text as it comes. */
class Writer {
  readonly steps: (Step & { text: string })[] = [];
  text = "";
  readonly #detokenizer;

  constructor(
    tokenizer: Tokenizer | undefined,
    private readonly stopIds: ReadonlySet<number>,
    private readonly stream: boolean,
  ) {
    this.#detokenizer = tokenizer?.createDetokenizer() ?? { push: (id: number) => `${id} `, end: () => "" };
  }

  add(step: Step): void {
    const ids = step.second === null ? [step.first] : [step.first, step.second];
    const text = ids.map((id) => (this.stopIds.has(id) ? "" : this.#detokenizer.push(id))).join("");
    this.steps.push({ ...step, text });
    this.#write(text);
  }

  end(): void {
    this.#write(this.#detokenizer.end());
    if (this.stream && !this.text.endsWith("\n")) printLine();
  }

  #write(text: string): void {
    this.text += text;
    if (this.stream && text !== "") process.stdout.write(text);
  }
}

function toJson(
  { native, card }: LoadedEngine,
  request: ReturnType<typeof toGenerateRequest>,
  result: GenerateResult,
  writer: Writer,
): object {
  const { accepted, gated } = result.stats;
  return {
    model: card.name,
    backend: native.info.backend,
    dtype: native.info.dtype,
    threads: native.info.threads,
    mode: request.mode,
    threshold: request.threshold,
    preGateThreshold: request.preGateThreshold,
    text: writer.text,
    ids: [...result.tokens],
    slots: [...result.slots],
    stopReason: result.stopReason,
    acceptanceRate: accepted + gated > 0 ? accepted / (accepted + gated) : null,
    ...result.stats,
    stepDetails: writer.steps,
  };
}

function summary({ stats, stopReason }: GenerateResult): string {
  const { tokens, steps, accepted, gated, draftsSkipped, tokensPerStep, ttftMs, tpotMs } = stats;
  const gate = accepted + gated > 0 ? `, ${accepted} accepted, ${gated} rejected` : "";
  const preGate = draftsSkipped > 0 ? `, ${draftsSkipped} drafts skipped` : "";
  return `[${tokens} tokens in ${steps} steps (${tokensPerStep.toFixed(2)} per step${gate}${preGate}), first after ${ttftMs.toFixed(1)} ms, then ${tpotMs.toFixed(2)} ms each, ended by ${stopReason}]`;
}
