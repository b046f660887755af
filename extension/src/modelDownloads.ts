import { CancellationTokenSource, type Disposable, EventEmitter, l10n, ProgressLocation, window } from "vscode";
import type { ListedModel, PullModelResult, PullProgress } from "../../server/protocol/messages";
import type { LanguageServer } from "./languageServer";
import { sizeInWords } from "./modelItems";
import { messageText } from "./plainText";

/** A download that is under way, as the status bar item shows it. */
export interface DownloadView {
  readonly title: string;
  /** 0..1 */
  readonly fraction: number;
}

/** Fetches models of the catalogue, one notification with progress and a button to cancel for each. */
export class ModelDownloads implements Disposable {
  private readonly changeEmitter = new EventEmitter<void>();
  readonly onDidChange = this.changeEmitter.event;
  private readonly running = new Map<string, DownloadView>();

  constructor(private readonly server: LanguageServer) {}

  /** The newest one. */
  get current(): DownloadView | undefined {
    return [...this.running.values()].at(-1);
  }

  /** Whether the model is there in the end. What goes wrong is told to the user, with a way to try again. */
  async download(model: ListedModel, evenIfTooLarge = false): Promise<boolean> {
    if (this.running.has(model.setting)) {
      void window.showInformationMessage(l10n.t("{0} is being downloaded already.", messageText(model.title)));
      return false;
    }
    const result = await this.withProgress(model, evenIfTooLarge);
    if (result.kind === "ready") return true;
    if (result.kind === "cancelled") return false;
    const again = l10n.t("Try Again");
    const chosen = await window.showErrorMessage(`PIPO: ${messageText(result.message)}`, again);
    return chosen === again && this.download(model, evenIfTooLarge);
  }

  dispose(): void {
    this.changeEmitter.dispose();
  }

  private withProgress(model: ListedModel, evenIfTooLarge: boolean): Thenable<PullModelResult> {
    const title = l10n.t("PIPO: downloading {0}", messageText(model.title));
    return window.withProgress({ location: ProgressLocation.Notification, cancellable: true, title }, async (progress, token) => {
      let percent = 0;
      const source = new CancellationTokenSource();
      token.onCancellationRequested(() => source.cancel());
      this.show(model, 0);
      const listener = this.server.onDidPullProgress((pull) => {
        if (pull.name !== model.setting) return;
        const fraction = pull.receivedBytes / pull.totalBytes;
        progress.report({ increment: 100 * fraction - percent, message: inWords(pull) });
        percent = Math.max(percent, 100 * fraction);
        this.show(model, fraction);
      });
      try {
        return await this.server.pullModel({ name: model.setting, evenIfTooLarge }, source.token);
      } finally {
        listener.dispose();
        source.dispose();
        this.running.delete(model.setting);
        this.changeEmitter.fire();
      }
    });
  }

  private show({ setting, title }: ListedModel, fraction: number): void {
    this.running.set(setting, { title, fraction });
    this.changeEmitter.fire();
  }
}

function inWords({ stage, receivedBytes, totalBytes, source }: PullProgress): string {
  switch (stage) {
    case "waiting":
      return l10n.t("another window is fetching it; waiting for that");
    case "downloading":
      return l10n.t("{0} of {1} from {2}", sizeInWords(receivedBytes), sizeInWords(totalBytes), messageText(source));
    case "checking":
      return l10n.t("checking what arrived");
  }
}
