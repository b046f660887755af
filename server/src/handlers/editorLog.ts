import type { Connection } from "vscode-languageserver/node";
import type { Logger } from "../log.js";

/** Logs into the editor's own log of this server. Details travel as the trace that an editor switches on when it shows it. */
export function editorLog(connection: Connection): Logger {
  return {
    error: (message) => connection.console.error(message),
    warn: (message) => connection.console.warn(message),
    info: (message) => connection.console.info(message),
    debug: (message) => connection.tracer.log(message),
  };
}
