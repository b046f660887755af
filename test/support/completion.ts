import type { ServerStatus } from "../../server/protocol/messages.js";
import type { PipoSettings } from "../../server/protocol/settings.js";
import { documentContext, type DocumentContext } from "../../server/src/document/documentContext.js";
import { ModelManager, type OpenModel } from "../../server/src/models/modelManager.js";
import type { CompletionRequest, CompletionResult } from "../../server/src/completion/result.js";
import { CompletionService } from "../../server/src/completion/service.js";
import { StatusReporter } from "../../server/src/completion/statusReporter.js";
import { defaultSettings } from "../../server/src/config/config.js";
import { silentLogger } from "../../server/src/log.js";
import { parseCursor } from "./cursor.js";
import { type FakeAnswer, FakeModel, type FakeModelOptions } from "./fakeEngine.js";

export interface RequestOptions {
  readonly uri?: string;
  readonly languageId?: string;
  readonly invoked?: boolean;
  readonly completion?: Partial<PipoSettings["completion"]>;
  readonly model?: Partial<PipoSettings["model"]>;
  readonly engine?: Partial<PipoSettings["engine"]>;
  readonly signal?: AbortSignal;
  /** Text before the cursor that the selected entry replaces, and the entry. */
  readonly selected?: { readonly typed: string; readonly text: string };
}

/** A request at the `█` of a document. */
export function requestAt(marked: string, options: RequestOptions = {}): CompletionRequest {
  const { text, offset, position } = parseCursor(marked);
  const { selected } = options;
  return {
    document: { uri: options.uri ?? "file:///src/example.ts", languageId: options.languageId ?? "typescript", version: 1, text },
    offset,
    position,
    invoked: options.invoked ?? false,
    ...(selected && { selected: { start: offset - selected.typed.length, end: offset, text: selected.text } }),
    settings: {
      ...defaultSettings,
      completion: { ...defaultSettings.completion, ...options.completion },
      model: { ...defaultSettings.model, ...options.model },
      engine: { ...defaultSettings.engine, ...options.engine },
    },
    signal: options.signal ?? new AbortController().signal,
  };
}

export function contextAt(marked: string, options: RequestOptions = {}): DocumentContext {
  const context = documentContext(requestAt(marked, options));
  if (typeof context === "string") throw new Error(context);
  return context;
}

/**
 * A completion service over a fake model, with everything that it said about its state. Answers are what stands behind
 * the cursor: where the prompt holds a space back, the fake model writes it first, as a real one does.
 */
export class ServiceUnderTest {
  readonly model: FakeModel;
  readonly models: ModelManager;
  readonly service: CompletionService;
  readonly statuses: ServerStatus[] = [];
  /** By the end of the prefix in the prompt: whether the newest such request had a space behind it. */
  private readonly spaces = new Map<string, "" | " ">();

  constructor(answer: (prompt: string) => FakeAnswer | string, options: FakeModelOptions = {}, open?: OpenModel) {
    this.model = new FakeModel((prompt) => this.withSpace(answer(prompt), prompt), options);
    const board = new StatusReporter((status) => this.statuses.push(status));
    this.models = new ModelManager(open ?? (async () => this.model), silentLogger, (state) => board.modelChanged(state));
    this.service = new CompletionService(this.models, board, silentLogger);
    void this.models.configure(defaultSettings);
  }

  complete(marked: string, options: RequestOptions = {}): Promise<CompletionResult> {
    const request = requestAt(marked, options);
    const context = documentContext(request);
    if (typeof context !== "string") this.spaces.set(endOf(context.prefix.replace(/(?<=\S) $/, "")), /\S $/.test(context.prefix) ? " " : "");
    return this.service.complete(request);
  }

  /** The suggested text, or the reason in parentheses. */
  async text(marked: string, options: RequestOptions = {}): Promise<string> {
    const result = await this.complete(marked, options);
    return result.kind === "suggestion" ? result.suggestion.text : `(${result.reason})`;
  }

  private withSpace(said: FakeAnswer | string, prompt: string): FakeAnswer | string {
    const prefix = /<\|fim_prefix\|>(.*?)(?:<\|fim_(?:middle|suffix)\|>|$)/s.exec(prompt)?.[1] ?? "";
    const space = this.spaces.get(endOf(prefix)) ?? "";
    return typeof said === "string" ? space + said : { ...said, text: space + said.text };
  }
}

/** The line of the cursor, which tells the requests of one test apart. */
function endOf(text: string): string {
  return text.slice(text.lastIndexOf("\n") + 1);
}
