import { stat } from "node:fs/promises";
import path from "node:path";
import type { CatalogueEntry } from "./catalogue.js";

/** Where an entry's file lies, or will lie, in the models folder. Only a whole and checked file has this name. */
export function placeOf(entry: CatalogueEntry, folder: string): string {
  return path.join(folder, entry.file);
}

/** The entry's file, when it has been downloaded. */
export async function downloadedFile(entry: CatalogueEntry, folder: string): Promise<string | undefined> {
  const file = placeOf(entry, folder);
  const found = await stat(file).catch(() => undefined);
  return found?.isFile() && found.size === entry.bytes ? file : undefined;
}
