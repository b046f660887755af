import { commands, type Disposable, InlineCompletionList, InlineCompletionTriggerKind, type InlineCompletionItem, type LogOutputChannel, type Position, type TextDocument, window, workspace } from "vscode";
import type { Middleware } from "vscode-languageclient/node";
import { LatencyWindow } from "./latency";

export type InlineCompletionMiddleware = Pick<Middleware, "provideInlineCompletionItems">;

/** A request that got no text, kept so that it can be asked again when the engine becomes ready. */
interface UnansweredRequest {
  readonly document: TextDocument;
  readonly version: number;
  readonly position: Position;
}

/**
 * Stands between VS Code and the server's answers: measures how long a keystroke took to become a
 * suggestion, and keeps every failure away from the person who is typing.
 */
export class InlineCompletionPath implements Disposable {
  readonly latency = new LatencyWindow();
  readonly middleware: InlineCompletionMiddleware = { provideInlineCompletionItems: this.createMiddleware() };

  private readonly keystrokeAt = new Map<string, number>();
  private readonly subscriptions: readonly Disposable[];
  private unanswered: UnansweredRequest | undefined;

  constructor(
    private readonly log: LogOutputChannel,
    private readonly onSuggestion: () => void,
  ) {
    this.subscriptions = [
      workspace.onDidChangeTextDocument(({ document, contentChanges }) => {
        if (0 < contentChanges.length) this.keystrokeAt.set(document.uri.toString(), performance.now());
      }),
      workspace.onDidCloseTextDocument((document) => this.keystrokeAt.delete(document.uri.toString())),
    ];
  }

  /** Asks again where the user still waits at the place of the last request that got nothing. */
  async askAgain(): Promise<void> {
    const request = this.unanswered;
    const editor = window.activeTextEditor;
    if (request === undefined || editor?.document !== request.document) return;
    if (editor.document.version !== request.version || !editor.selection.active.isEqual(request.position)) return;
    await commands.executeCommand("editor.action.inlineSuggest.trigger");
  }

  dispose(): void {
    for (const subscription of this.subscriptions) subscription.dispose();
  }

  private createMiddleware(): NonNullable<InlineCompletionMiddleware["provideInlineCompletionItems"]> {
    return async (document, position, context, token, next) => {
      const key = document.uri.toString();
      const askedAt = performance.now();
      const startedAt = context.triggerKind === InlineCompletionTriggerKind.Invoke ? askedAt : (this.keystrokeAt.get(key) ?? askedAt);
      try {
        const result = await next(document, position, context, token);
        if (token.isCancellationRequested) return undefined;
        this.keystrokeAt.delete(key); // Answered. A request that was withdrawn leaves it to the next one.
        if (itemsOf(result).length === 0) {
          this.unanswered = { document, version: document.version, position };
          return result;
        }
        this.unanswered = undefined;
        this.latency.add(performance.now() - startedAt);
        this.onSuggestion();
        return result;
      } catch (error) {
        if (!token.isCancellationRequested) this.log.debug(`no suggestion: ${String(error)}`);
        return undefined;
      }
    };
  }
}

function itemsOf(result: InlineCompletionItem[] | InlineCompletionList | null | undefined): readonly InlineCompletionItem[] {
  if (result === null || result === undefined) return [];
  return result instanceof InlineCompletionList ? result.items : result;
}
