import { open, readdir, realpath, stat } from "node:fs/promises";
import path from "node:path";
import { z } from "zod";
import { type ForeignModelFolders, foreignModelFolders } from "../environment.js";

/** A GGUF file that another program keeps on this machine. It is read where it lies and never changed. */
export interface FoundModel {
  /** `name:tag` for Ollama, otherwise the file's name below the program's folder. */
  readonly name: string;
  readonly path: string;
  readonly bytes: number;
  readonly program: ForeignProgram;
}

export type ForeignProgram = "Ollama" | "LM Studio" | "llama.cpp" | "Hugging Face" | "Jan" | "GPT4All";

/** What a search may cost, whatever lies in the folders: they belong to others and may be anything. */
export interface SearchLimits {
  readonly entries: number;
  readonly depth: number;
  readonly models: number;
}

const defaultLimits: SearchLimits = { entries: 20_000, depth: 6, models: 200 };

/** Manifests are a few hundred bytes. */
const largestManifest = 1 << 20;

/**
 * Models of other programs, by program and name, each file once. Folders that are not there or may not be read are
 * passed over. Parts of a split file and projectors of images (`mmproj`) are no models of their own and are left out.
 */
export async function discoverModels(
  folders: ForeignModelFolders = foreignModelFolders(),
  limits: SearchLimits = defaultLimits,
): Promise<readonly FoundModel[]> {
  const search = new Search(limits);
  await search.ollama(folders.ollama);
  for (const folder of folders.lmStudio) await search.ggufFiles(folder, "LM Studio");
  await search.ggufFiles(folders.llamaCpp, "llama.cpp");
  await search.ggufFiles(folders.hubCache, "Hugging Face");
  for (const folder of folders.jan) await search.ggufFiles(folder, "Jan");
  await search.ggufFiles(folders.gpt4all, "GPT4All");
  return search.found;
}

class Search {
  readonly found: FoundModel[] = [];
  private readonly seenFiles = new Set<string>();
  private readonly seenFolders = new Set<string>();
  private entriesLeft: number;

  constructor(private readonly limits: SearchLimits) {
    this.entriesLeft = limits.entries;
  }

  /** Ollama's manifests name the blobs; a blob's own name says nothing. */
  async ollama(root: string): Promise<void> {
    const manifests = path.join(root, "manifests");
    await this.walk(manifests, async (file) => {
      const blob = await blobOf(file);
      if (blob !== undefined) await this.add(path.join(root, "blobs", blob), ollamaName(path.relative(manifests, file)), "Ollama");
    });
  }

  async ggufFiles(root: string, program: ForeignProgram): Promise<void> {
    await this.walk(root, async (file) => {
      if (isWholeModel(path.basename(file))) await this.add(file, nameBelow(root, file, program), program);
    });
  }

  private async add(file: string, name: string, program: ForeignProgram): Promise<void> {
    if (this.found.length >= this.limits.models) return;
    const real = await realpath(file).catch(() => undefined);
    if (real === undefined || this.seenFiles.has(real)) return;
    this.seenFiles.add(real);
    const bytes = await sizeOfGguf(real);
    if (bytes !== undefined) this.found.push({ name, path: file, bytes, program });
  }

  /** Visits files below a folder; links are followed, each folder once. */
  private async walk(folder: string, visit: (file: string) => Promise<void>, depth = 0): Promise<void> {
    const real = await realpath(folder).catch(() => undefined);
    if (real === undefined || this.seenFolders.has(real) || depth > this.limits.depth) return;
    this.seenFolders.add(real);
    for (const name of await namesIn(folder)) {
      if (this.entriesLeft-- <= 0) return;
      const inner = path.join(folder, name);
      const found = await stat(inner).catch(() => undefined);
      if (found?.isDirectory()) await this.walk(inner, visit, depth + 1);
      else if (found?.isFile()) await visit(inner);
    }
  }
}

async function namesIn(folder: string): Promise<readonly string[]> {
  return readdir(folder).then(
    (names) => names.sort(),
    () => [],
  );
}

function isWholeModel(fileName: string): boolean {
  return /\.gguf$/i.test(fileName) && !/-\d{5}-of-\d{5}\.gguf$/i.test(fileName) && !/^mmproj/i.test(fileName);
}

/** The hub's cache has `models--org--name/snapshots/revision/file`: `org/name/file` is what a person knows it by. */
function nameBelow(root: string, file: string, program: ForeignProgram): string {
  const relative = path.relative(root, file).split(path.sep).join("/");
  const inCache = program === "Hugging Face" ? /^models--([^/]+)\/snapshots\/[^/]+\/(.+)$/.exec(relative) : null;
  return inCache ? `${inCache[1]!.replace("--", "/")}/${inCache[2]}` : relative;
}

/** `registry.ollama.ai/library/name/tag` is `name:tag`; other owners and hosts stay in the name. */
function ollamaName(relative: string): string {
  const parts = relative.split(path.sep);
  const tag = parts.pop() ?? "";
  const name = parts.join("/").replace(/^registry\.ollama\.ai\//, "").replace(/^library\//, "");
  return `${name}:${tag}`;
}

const manifestSchema = z.object({ layers: z.array(z.object({ mediaType: z.string(), digest: z.string() })) });

/** File name of the blob with the weights; undefined for anything that is no manifest. */
async function blobOf(manifest: string): Promise<string | undefined> {
  try {
    const parsed = manifestSchema.safeParse(JSON.parse(await readSmall(manifest)));
    const layer = parsed.data?.layers.find(({ mediaType }) => mediaType === "application/vnd.ollama.image.model");
    // Nothing but a digest: it becomes part of a path.
    return layer && /^sha256:[0-9a-f]{64}$/.test(layer.digest) ? layer.digest.replace(":", "-") : undefined;
  } catch {
    return undefined;
  }
}

async function readSmall(file: string): Promise<string> {
  const handle = await open(file, "r");
  try {
    const { size } = await handle.stat();
    return size > largestManifest ? "" : await handle.readFile("utf8");
  } finally {
    await handle.close();
  }
}

/** Bytes of a regular file that begins as GGUF does; undefined for anything else. */
async function sizeOfGguf(file: string): Promise<number | undefined> {
  try {
    if (!(await stat(file)).isFile()) return undefined;
    const handle = await open(file, "r");
    try {
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(4), 0, 4, 0);
      return bytesRead === 4 && buffer.toString("latin1") === "GGUF" ? (await handle.stat()).size : undefined;
    } finally {
      await handle.close();
    }
  } catch {
    return undefined;
  }
}
