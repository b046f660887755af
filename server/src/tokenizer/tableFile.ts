import { randomUUID } from "node:crypto";
import { rename, rm, writeFile } from "node:fs/promises";
import { readExactly, withRegularFile } from "../files.js";
import { openTokenTable, type TokenTable } from "./tokenTable.js";

/** A table is never larger: the bounds of a vocabulary see to that. */
const maxTableBytes = 1 << 28;

/** The table in `file`; undefined where there is none that is whole and of this vocabulary. */
export async function readTokenTable(file: string, fingerprint: string): Promise<TokenTable | undefined> {
  try {
    return await withRegularFile(file, async (handle, facts) => {
      if (facts.size > maxTableBytes) return undefined;
      const { buffer } = await readExactly(handle, facts, 0, facts.size);
      return openTokenTable(buffer as ArrayBuffer, fingerprint);
    });
  } catch {
    // It is built again, as for any other reason.
    return undefined;
  }
}

/** Writes a table under its name in one step. Where that fails it only costs the time to build it again. */
export async function writeTokenTable(file: string, table: TokenTable): Promise<void> {
  const part = `${file}.${randomUUID()}.part`;
  try {
    await writeFile(part, new Uint8Array(table.buffer), { flag: "wx" });
    await rename(part, file);
  } catch {
    await rm(part, { force: true }).catch(() => undefined);
  }
}
