import type { CompletionStatistics, CompletionTrace, GenerationTrace } from "../../protocol/messages.js";
import { offeredSchemes, type PipoSettings } from "../../protocol/settings.js";
import type { DecodeMode } from "../engine/addon.js";
import { messageOf } from "../files.js";
import type { Logger } from "../log.js";
import { postprocess, refit } from "../postprocess/pipeline.js";
import type { Prompt } from "../prompt/build.js";
import { extentRule, type ExtentRule } from "../document/extent.js";
import { CompletionCache } from "./completionCache.js";
import { type CompletionModel, CompletionModels, decodeMode, stopIdsFor, type Unusable } from "./completionModel.js";
import { maxBlockTokens, maxLineTokens, minConfidenceFor, promptBudget, timeLimitFor } from "./modelDefaults.js";
import { type DocumentContext, documentContext } from "../document/documentContext.js";
import { ExcludedFiles, type ResolveLink } from "./excludedFiles.js";
import { generate, type Generation } from "./generation.js";
import type { ModelManager } from "../models/modelManager.js";
import type { MeasureReadBandwidth } from "./modelSpeed.js";
import { RequestScheduler, withdrawalOf } from "./requestScheduler.js";
import { type CompletionRequest, type CompletionResult, empty, type EmptyResult } from "./result.js";
import { Statistics } from "./statistics.js";
import type { StatusReporter } from "./statusReporter.js";
import { describeTrace, TraceRecorder } from "./trace.js";
import { extentOf, refusalByTrigger } from "./trigger.js";
import { TypedAsSuggested } from "./typedAsSuggested.js";

/** Documents of these schemes are logs, consoles and input boxes, and so are an editor's own kinds that are not offered. */
const otherSchemes = /^(?:output|debug|comment|git|search-editor|vscode|vscode-[a-z-]*)$/;

/** What the machine gives to completion; everything may be absent, for less exact defaults. */
export interface CompletionHost {
  readonly measureReadBandwidth?: MeasureReadBandwidth;
  readonly resolveLink?: ResolveLink;
}

/** From a request to a suggestion or a reason. The stages stand in `answer` and `generated`, in order. */
export class CompletionService {
  private readonly excluded: ExcludedFiles;
  private readonly typed = new TypedAsSuggested();
  private readonly cache = new CompletionCache();
  private readonly scheduler = new RequestScheduler();
  private readonly statistics = new Statistics();
  private readonly completionModels: CompletionModels;
  private newestTrace: CompletionTrace | undefined;
  private requests = 0;

  constructor(
    private readonly models: ModelManager,
    private readonly status: StatusReporter,
    private readonly log: Logger,
    host: CompletionHost = {},
  ) {
    this.completionModels = new CompletionModels(host.measureReadBandwidth);
    this.excluded = new ExcludedFiles(log, host.resolveLink);
    models.onUnload((model) => this.completionModels.release(model));
  }

  /** Never rejects: what goes wrong is logged and becomes a reason. */
  async complete(request: CompletionRequest): Promise<CompletionResult> {
    const trace = new TraceRecorder(`${++this.requests}`, request);
    const result = await this.admitted(request, trace).catch((error: unknown) => {
      this.log.error(`A request failed: ${messageOf(error)}`);
      return empty("engineFailed", messageOf(error));
    });
    this.newestTrace = trace.finish(result);
    this.statistics.note(this.newestTrace);
    this.status.answered(this.newestTrace);
    this.log.debug(describeTrace(this.newestTrace));
    return result;
  }

  /** False when the id is unknown or was accepted before. */
  accepted(id: string): boolean {
    return this.statistics.noteAccepted(id);
  }

  get lastTrace(): CompletionTrace | null {
    return this.newestTrace ?? null;
  }

  statisticsSnapshot(): CompletionStatistics {
    return this.statistics.snapshot();
  }

  /** Folders that the editor has open, as URIs. */
  setWorkspaceFolders(uris: readonly string[]): void {
    this.excluded.setWorkspaceFolders(uris);
  }

  /** A document was closed. */
  forget(uri: string): void {
    this.typed.forget(uri);
    this.completionModels.forget(uri);
  }

  /** Settings or the model change: what was suggested before may not be suggested now, and what runs is withdrawn. */
  startAfresh(): void {
    this.scheduler.withdrawAll();
    this.typed.clear();
    this.cache.clear();
  }

  /** A request that was withdrawn before it came here supersedes nothing. */
  private async admitted(request: CompletionRequest, trace: TraceRecorder): Promise<CompletionResult> {
    const { document, signal: editorSignal } = request;
    if (editorSignal.aborted) return empty(withdrawalOf(editorSignal));
    return this.scheduler.admit(document.uri, editorSignal, (signal) => this.answer(request, signal, trace));
  }

  private async answer(request: CompletionRequest, signal: AbortSignal, trace: TraceRecorder): Promise<CompletionResult> {
    const refusal = await trace.stageAsync("settings", () => this.refusal(request));
    if (refusal !== undefined) return refusal;
    if (signal.aborted) return empty(withdrawalOf(signal));

    const context = trace.stage("document", () => documentContext(request));
    if (typeof context === "string") return empty(context);
    const refused = refusalByTrigger(context, request.invoked);
    if (refused !== undefined) return empty(refused);

    const reused = trace.stage("reuse", () => this.reused(request, context, trace.id));
    return reused ?? this.generated(request, context, signal, trace);
  }

  private async refusal({ document, settings }: CompletionRequest): Promise<EmptyResult | undefined> {
    if (!settings.completion.enabled) return empty("disabled", `pipo.completion.enabled, ${document.languageId}`);
    if (!isTextDocument(document.uri)) return empty("notTextDocument");
    const pattern = await this.excluded.matchingPattern(document.uri, settings.completion.exclude);
    return pattern === undefined ? undefined : empty("excludedFile", pattern);
  }

  /** The rest of what is shown, or of something that was suggested here before. */
  private reused(request: CompletionRequest, context: DocumentContext, id: string): CompletionResult | undefined {
    const rest = this.typed.rest(context);
    const [text, source] =
      rest === undefined
        ? ([this.cache.get(context), "completionCache"] as const)
        : ([rest, "typedAsSuggested"] as const);
    if (text === undefined) return undefined;
    const fitted = refit(text, { document: context, rule: ruleFor(request, context) });
    return fitted === "" ? undefined : this.suggestion(context, fitted, source, id);
  }

  private async generated(
    request: CompletionRequest,
    context: DocumentContext,
    signal: AbortSignal,
    trace: TraceRecorder,
  ): Promise<CompletionResult> {
    const model = await trace.stageAsync("engine", () => unlessAborted(signal, this.completionModel(request.settings)));
    if (signal.aborted) return empty(withdrawalOf(signal));
    if (model === undefined) return this.failure();
    if ("reason" in model) return empty("noFillInMiddle", model.reason);

    const rule = ruleFor(request, context);
    const mode = decodeMode(model.model, request.settings.engine.mode);
    const generation = await this.scheduler.inTurn(signal, () => {
      const budget = promptBudget(model.model, model.family, model.speed, mode);
      const prompt = trace.stage("prompt", () => model.prompts.build(context, budget));
      return trace.stageAsync("generate", () => this.generate(model, { prompt, mode, rule }, request.settings, signal));
    });
    if (generation === undefined || generation.end === "withdrawn") return empty(withdrawalOf(signal));

    const { text, changedBy } = trace.stage("postprocess", () => postprocess(generation.text, { document: context, rule }));
    trace.generated(generationTrace(generation, mode, rule, changedBy));
    if (generation.end === "unsure") return empty("lowConfidence");
    if (text === "") return empty(emptyReason(generation));
    this.cache.put(context, text);
    return this.suggestion(context, text, "model", trace.id);
  }

  private async completionModel({ model: { fimFormat } }: PipoSettings): Promise<CompletionModel | Unusable | undefined> {
    const model = await this.models.ready();
    return model && this.completionModels.use(model, fimFormat);
  }

  private async generate(
    model: CompletionModel,
    { prompt, mode, rule }: { readonly prompt: Prompt; readonly mode: DecodeMode; readonly rule: ExtentRule },
    { completion, engine }: PipoSettings,
    signal: AbortSignal,
  ): Promise<Generation> {
    const minConfidence = minConfidenceFor(completion, model.model);
    const timeLimitMs = timeLimitFor(completion, model.speed);
    const block = rule.extent === "block";
    const { heldBack } = prompt;
    const limits = { rule, heldBack, minConfidence, timeLimitMs: block ? 2 * timeLimitMs : timeLimitMs, signal };
    const request = {
      promptIds: prompt.ids,
      maxNewTokens: block ? maxBlockTokens : maxLineTokens,
      // A line that opens a block looks finished to a model; what is asked for is the block.
      ...(block && rule.linePrefix.trim() !== "" && { minNewTokens: 1 }),
      mode,
      stopIds: stopIdsFor(model, mode),
      ...(engine.threshold !== null && { threshold: engine.threshold }),
    };
    try {
      const generation = await this.status.whileGenerating(() => generate(model.session, request, limits));
      model.speed.note(generation.result.stats);
      this.models.noteGeneration();
      return generation;
    } catch (error) {
      this.models.noteGeneration(error);
      throw error;
    }
  }

  private suggestion(
    context: DocumentContext,
    text: string,
    source: "model" | "completionCache" | "typedAsSuggested",
    id: string,
  ): CompletionResult {
    this.typed.show(context, text);
    const { replaceStart: start, replaceEnd: end, selectedText } = context;
    return { kind: "suggestion", suggestion: { id, text: selectedText + text, start, end, source } };
  }

  private failure(): EmptyResult {
    const { state } = this.models;
    return empty("engineFailed", state.kind === "failed" ? state.message : undefined);
  }
}

function isTextDocument(uri: string): boolean {
  const scheme = /^[a-z][a-z0-9+.-]*(?=:)/i.exec(uri)?.[0].toLowerCase() ?? "";
  return offeredSchemes.includes(scheme) || !otherSchemes.test(scheme);
}

function ruleFor({ settings }: CompletionRequest, context: DocumentContext): ExtentRule {
  const { completion } = settings;
  return extentRule(context, extentOf(context, completion), completion.maxLines);
}

function emptyReason({ end, text }: Generation): "timeLimit" | "emptyText" | "filtered" {
  if (text.trim() !== "") return "filtered";
  return end === "timeLimit" ? "timeLimit" : "emptyText";
}

function generationTrace(
  { result, text, end, confidence }: Generation,
  mode: DecodeMode,
  rule: ExtentRule,
  filters: readonly string[],
): GenerationTrace {
  const { stats, stopReason } = result;
  return {
    mode,
    block: rule.extent === "block",
    stopReason: stopReason === "listenerStopped" ? end : stopReason,
    promptTokens: stats.promptTokens,
    cachedPositions: stats.cachedPositions,
    extendPositions: stats.extendPositions,
    tokens: stats.tokens,
    steps: stats.steps,
    accepted: stats.accepted,
    gated: stats.gated,
    draftsSkipped: stats.draftsSkipped,
    tokensPerStep: stats.tokensPerStep,
    ttftMs: stats.ttftMs,
    tpotMs: stats.tpotMs,
    confidence,
    rawText: text,
    filters,
  };
}

/** The value, or undefined as soon as the signal aborts; the work goes on for those who come later. */
async function unlessAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T | undefined> {
  if (signal.aborted) return undefined;
  let stop: () => void = () => undefined;
  const aborted = new Promise<undefined>((resolve) => {
    stop = () => resolve(undefined);
    signal.addEventListener("abort", stop, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}
