/** A place from which a file's bytes can be had, in order, from some byte on. */
export interface Source {
  /** As messages name it. */
  readonly label: string;
  /** Where it goes on when the first `bytes` are there: at that byte or before it. */
  startFor(bytes: number): number;
  /** Bytes of disk that it needs beside the file itself. */
  readonly neededBeside: number;
  /** The file's bytes from `start` on. Throws a DownloadError. */
  read(start: number, signal: AbortSignal): AsyncIterable<Uint8Array>;
}
