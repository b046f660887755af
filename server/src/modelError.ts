import type { EngineErrorCode } from "./engine/addon.js";

/** A problem with model files or their use. The message names the file and says what to do; `code` is closed. */
export class ModelError extends Error {
  override readonly name = "ModelError";

  constructor(
    readonly code: EngineErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** The code of an error from the engine or from reading model files; `internal` for anything else. */
export function errorCodeOf(error: unknown): EngineErrorCode {
  const code = (error as { code?: unknown } | undefined)?.code;
  return typeof code === "string" && (engineErrorCodes as readonly string[]).includes(code)
    ? (code as EngineErrorCode)
    : "internal";
}

const engineErrorCodes: readonly EngineErrorCode[] = [
  "badFile",
  "badConfig",
  "missingTensor",
  "badShape",
  "notEnoughMemory",
  "unsupported",
  "badRequest",
  "busy",
  "closed",
  "io",
  "cancelled",
  "internal",
];
