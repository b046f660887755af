import type { EmptyReason, ResultSource } from "../../protocol/messages.js";
import type { PipoSettings } from "../../protocol/settings.js";
import type { DocumentPlace } from "../document/document.js";

export interface CompletionRequest extends DocumentPlace {
  /** Zero-based, for the trace only. */
  readonly position: { readonly line: number; readonly character: number };
  /** True when the user asked, false when typing did. */
  readonly invoked: boolean;
  readonly settings: PipoSettings;
  /** Aborted when the editor withdraws the request, or with the reason `superseded` when the text changes. */
  readonly signal: AbortSignal;
}

export interface Suggestion {
  readonly id: string;
  /** Text to insert. Its lines end with `\n`; every editor turns that into what the document has. */
  readonly text: string;
  /** Offsets of the text that it replaces; empty at the cursor unless an entry is selected. */
  readonly start: number;
  readonly end: number;
  readonly source: ResultSource;
}

/** Every answer says where it came from, or why it is empty. */
export type CompletionResult =
  | { readonly kind: "suggestion"; readonly suggestion: Suggestion }
  | EmptyResult;

export interface EmptyResult {
  readonly kind: "empty";
  readonly reason: EmptyReason;
  /** The pattern, setting or error behind the reason. */
  readonly detail?: string;
}

export function empty(reason: EmptyReason, detail?: string): EmptyResult {
  return detail === undefined ? { kind: "empty", reason } : { kind: "empty", reason, detail };
}
