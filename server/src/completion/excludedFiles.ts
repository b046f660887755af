import picomatch from "picomatch";

/** Finds the pattern that keeps a file from being read. Compiled once per list of patterns. */
export class ExcludedFiles {
  private readonly compiled = new WeakMap<readonly string[], readonly CompiledPattern[]>();

  /** The first pattern that matches the URI's path, or undefined. */
  matchingPattern(uri: string, patterns: readonly string[]): string | undefined {
    const path = pathOf(uri);
    return this.matchersFor(patterns).find(({ matches }) => matches(path))?.pattern;
  }

  private matchersFor(patterns: readonly string[]): readonly CompiledPattern[] {
    let matchers = this.compiled.get(patterns);
    if (matchers === undefined) {
      matchers = patterns.map(compile);
      this.compiled.set(patterns, matchers);
    }
    return matchers;
  }
}

interface CompiledPattern {
  readonly pattern: string;
  readonly matches: (path: string) => boolean;
}

/** A pattern without a slash is about file names anywhere; case never matters. */
function compile(pattern: string): CompiledPattern {
  const anywhere = pattern.includes("/") ? pattern : `**/${pattern}`;
  const matches = picomatch(anywhere.replace(/^\//, ""), { dot: true, nocase: true });
  return { pattern, matches };
}

/** Path of a URI without its leading slash; what cannot be decoded stays as it is. */
function pathOf(uri: string): string {
  const path = uri.replace(/^[a-z][a-z0-9+.-]*:(\/\/[^/]*)?/i, "").replace(/^\//, "");
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}
