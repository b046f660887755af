import type { Connection } from "vscode-languageserver/node";
import type { Logger } from "../log.js";

/** Logs into the editor's own log of this server. What nobody sees is not sent. */
export class EditorLog implements Logger {
  /** Whether the editor shows details in its log; otherwise they go where it traces, if it does. */
  showsDetails = false;

  constructor(private readonly connection: Connection) {}

  error(message: string): void {
    this.connection.console.error(message);
  }

  warn(message: string): void {
    this.connection.console.warn(message);
  }

  info(message: string): void {
    this.connection.console.info(message);
  }

  debug(message: string): void {
    if (this.showsDetails) this.connection.console.debug(message);
    else this.connection.tracer.log(message);
  }
}
