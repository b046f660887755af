/** What a model says about itself for completion: `pipo.json` in its directory, or defaults from the other files. */
export interface ModelCard {
  readonly name: string;
  readonly version: string;
  /** Order of the fill-in-the-middle parts: suffix first (`spm`) or prefix first (`psm`). */
  readonly fimFormat: "spm" | "psm";
  /** Gate threshold that the model was tuned for. */
  readonly defaultThreshold: number;
  readonly padTokenId: number;
  readonly stopTokenIds: readonly number[];
  /** Positions that a session should hold: pairs in pair mode, tokens in plain mode. */
  readonly contextPairs: number;
  readonly license: string;
}
