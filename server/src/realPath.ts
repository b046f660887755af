import { realpath } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { LRUCache } from "lru-cache";

/** A file system that answers later than this is taken by what the editor calls the file. */
const waitMs = 200;
/** An answer is trusted for so long: links are seldom changed while a file is open. */
const trustedMs = 30_000;

const known = new LRUCache<string, Promise<string | undefined>>({ max: 500, ttl: trustedMs });

/** Where a `file:` URI leads when links are followed, as an absolute path; undefined where that cannot be told within a moment. */
export function realPathOf(uri: string): Promise<string | undefined> {
  let answer = known.get(uri);
  if (answer === undefined) {
    answer = resolved(uri);
    known.set(uri, answer);
  }
  return answer;
}

async function resolved(uri: string): Promise<string | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => (timer = setTimeout(() => resolve(undefined), waitMs)));
  try {
    return await Promise.race([realpath(fileURLToPath(uri)), late]);
  } catch {
    return undefined;
  } finally {
    clearTimeout(timer);
  }
}
