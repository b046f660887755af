export type DownloadFailure =
  /** The user stopped it. */
  | "cancelled"
  /** No name, no route, no answer. */
  | "noNetwork"
  /** The transfer broke off, or stood still. */
  | "interrupted"
  /** A proxy between here and the source did not let it through. */
  | "proxyRefused"
  /** The source answered, but not with the file. */
  | "refused"
  /** Bytes came, and they are not the file's. */
  | "wrongBytes"
  | "noSpace"
  | "tooLarge"
  /** The source cannot be used on this machine. */
  | "unavailable"
  /** The models folder cannot be written. */
  | "folder"
  /** Every source failed; the message says how. */
  | "allSourcesFailed";

/** A download that did not succeed. The message is one or two sentences for the user; `kind` is closed. */
export class DownloadError extends Error {
  override readonly name = "DownloadError";

  constructor(
    readonly kind: DownloadFailure,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** Throws when the user has stopped the download. */
export function throwIfCancelled(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw cancelled();
}

export function cancelled(): DownloadError {
  return new DownloadError("cancelled", "The download was stopped. What has arrived is kept, and the next attempt goes on from there.");
}
