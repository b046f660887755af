import { createHash, randomBytes } from "node:crypto";
import type { CatalogueEntry } from "../../server/src/models/catalogue.js";

/** Bytes that do not compress, and an entry of the catalogue for them. */
export function entryOf(length: number, rest: Partial<CatalogueEntry> = {}): { readonly bytes: Buffer; readonly entry: CatalogueEntry } {
  const bytes = randomBytes(length);
  const entry: CatalogueEntry = {
    name: "tiny",
    title: "Tiny",
    abilities: ["completion"],
    licence: "MIT",
    file: "tiny.gguf",
    bytes: length,
    sha256: createHash("sha256").update(bytes).digest("hex"),
    parameters: 1e6,
    hub: { repository: "somebody/tiny", revision: "0123abc", file: "tiny-q4.gguf" },
    ...rest,
  };
  return { bytes, entry };
}
