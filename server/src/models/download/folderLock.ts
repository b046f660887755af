import { randomUUID } from "node:crypto";
import { open, readFile, rename, rm, stat, utimes } from "node:fs/promises";
import { setTimeout as wait } from "node:timers/promises";
import { throwIfCancelled } from "./downloadError.js";

/** How often the holder shows that it lives, how often others look, and when they take it for dead. */
const timing = { beatMs: 2_000, lookMs: 250, deadMs: 15_000 };

/**
 * Runs work while no other process does the same, told by a file that the holder touches again and again. Others wait;
 * `onWait` is called once when they have to. A holder that has ended without cleaning up is noticed after some seconds.
 */
export async function withFolderLock<T>(
  file: string,
  { signal, onWait }: { readonly signal?: AbortSignal | undefined; readonly onWait?: () => void },
  work: () => Promise<T>,
): Promise<T> {
  const owner = randomUUID();
  for (let waited = false; !(await take(file, owner)); ) {
    if (!waited) onWait?.();
    waited = true;
    await wait(timing.lookMs);
    throwIfCancelled(signal);
  }
  const beat = setInterval(() => void utimes(file, new Date(), new Date()).catch(() => undefined), timing.beatMs);
  try {
    return await work();
  } finally {
    clearInterval(beat);
    if ((await ownerOf(file)) === owner) await rm(file, { force: true });
  }
}

async function take(file: string, owner: string): Promise<boolean> {
  try {
    const handle = await open(file, "wx");
    await handle.writeFile(owner).finally(() => handle.close());
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    await removeIfDead(file);
    return false;
  }
}

/** Two that find the same dead lock must not take away the new one of the other: what was moved away is looked at. */
async function removeIfDead(file: string): Promise<void> {
  const found = await stat(file).catch(() => undefined);
  if (found === undefined || Date.now() - found.mtimeMs < timing.deadMs) return;
  const dead = await ownerOf(file);
  const aside = `${file}.${randomUUID()}`;
  try {
    await rename(file, aside);
  } catch {
    return; // Another was quicker.
  }
  if ((await ownerOf(aside)) === dead) await rm(aside, { force: true });
  else await rename(aside, file).catch(() => undefined);
}

async function ownerOf(file: string): Promise<string | undefined> {
  return readFile(file, "utf8").catch(() => undefined);
}
