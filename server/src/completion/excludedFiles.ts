import { homedir } from "node:os";
import { pathSegments } from "../document/uri.js";
import type { Logger } from "../log.js";
import { plainText } from "../plainText.js";
import { parseGlob } from "./glob.js";

/** Where a link leads, as an absolute path; undefined for what is no file here or cannot be told soon. */
export type ResolveLink = (uri: string) => Promise<string | undefined>;

/** More patterns than anybody writes by hand. */
const mostPatterns = 1_000;

/** Finds the pattern that keeps a file from being read. Compiled once per list of patterns. */
export class ExcludedFiles {
  private readonly compiled = new WeakMap<readonly string[], readonly CompiledPattern[]>();
  private readonly reported = new Set<string>();
  private folders: readonly (readonly string[])[] = [];

  constructor(
    private readonly log: Logger,
    private readonly resolveLink: ResolveLink = async () => undefined,
  ) {}

  /** Folders, as URIs, to which patterns with a slash are relative. */
  setWorkspaceFolders(uris: readonly string[]): void {
    this.folders = uris.map(pathSegments).filter((folder) => folder.length > 0);
  }

  /** The first pattern that matches the URI's path, or where its link leads; undefined where none does. */
  async matchingPattern(uri: string, patterns: readonly string[]): Promise<string | undefined> {
    const matchers = this.matchersFor(patterns);
    const named = this.firstMatch(matchers, pathSegments(uri));
    if (named !== undefined || matchers.length === 0) return named;
    const target = await this.resolveLink(uri);
    return target === undefined ? undefined : this.firstMatch(matchers, pathSegments(target));
  }

  private firstMatch(matchers: readonly CompiledPattern[], path: readonly string[]): string | undefined {
    const folder = this.folders.filter((candidate) => isWithin(path, candidate)).sort((a, b) => b.length - a.length)[0];
    return matchers.find(({ matches }) => matches(path, folder))?.pattern;
  }

  private matchersFor(patterns: readonly string[]): readonly CompiledPattern[] {
    let matchers = this.compiled.get(patterns);
    if (matchers === undefined) {
      matchers = patterns.slice(0, mostPatterns).flatMap((pattern) => this.compile(pattern) ?? []);
      this.compiled.set(patterns, matchers);
    }
    return matchers;
  }

  private compile(pattern: string): CompiledPattern | undefined {
    const compiled = compile(pattern);
    if (!("problem" in compiled)) return compiled;
    if (!this.reported.has(pattern)) {
      this.log.warn(`pipo.completion.exclude: "${plainText(pattern)}" excludes nothing, because ${compiled.problem}. Correct it.`);
      this.reported.add(pattern);
    }
    return undefined;
  }
}

interface CompiledPattern {
  readonly pattern: string;
  /** `folder` is the workspace folder that the path lies in. */
  readonly matches: (path: readonly string[], folder: readonly string[] | undefined) => boolean;
}

/**
 * A pattern as people write it. Without a slash it is about names anywhere; with one it begins at the workspace folder, or
 * anywhere where a file lies in none; from a slash, a drive, `~` or `**` on it may also begin at the root.
 */
function compile(written: string): CompiledPattern | { readonly problem: string } {
  const pattern = written.trim().replaceAll("\\", "/").replace(/^(?:\.\/)+/, "");
  if (pattern === "") return { problem: "it is empty" };
  if (pattern.startsWith("!")) return { problem: "exceptions (!) are not known here" };
  const home = pattern.startsWith("~/") ? `${homedir()}${pattern.slice(1)}` : pattern;
  const fromRoot = /^(?:\/|[A-Za-z]:\/|\*\*(?:\/|$))/.test(home);
  const isName = !home.replace(/\/+$/, "").includes("/");
  const exact = parseGlob(home);
  const anywhere = parseGlob(`**/${home}`);
  if ("problem" in exact) return exact;
  if ("problem" in anywhere) return anywhere;
  const matches = (path: readonly string[], folder: readonly string[] | undefined): boolean => {
    if (isName) return anywhere.matches(path);
    if (fromRoot && exact.matches(path)) return true;
    if (folder !== undefined) return exact.matches(path.slice(folder.length));
    return !fromRoot && anywhere.matches(path);
  };
  return { pattern: written, matches };
}

function isWithin(path: readonly string[], folder: readonly string[]): boolean {
  return folder.length < path.length && folder.every((segment, index) => segment.toLowerCase() === path[index]!.toLowerCase());
}
