import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";

export const root = path.resolve(import.meta.dirname, "../..");

/** Folders that hold no sources of ours. */
const skipped = new Set(["node_modules", "build", "dist", "__pycache__", "test-results", "coverage"]);

export interface Source {
  /** From the repository's root, with forward slashes. */
  readonly path: string;
  readonly text: string;
}

/** Every file under a folder whose name ends so, in a fixed order. */
export function sourcesIn(folder: string, endings: readonly string[]): readonly Source[] {
  const found: Source[] = [];
  const visit = (directory: string): void => {
    for (const entry of readdirSync(path.join(root, directory), { withFileTypes: true })) {
      const inner = path.posix.join(directory, entry.name);
      if (entry.isDirectory() && !skipped.has(entry.name) && !(entry.name.startsWith(".") && entry.name !== ".ci")) visit(inner);
      else if (entry.isFile() && endings.some((ending) => entry.name.endsWith(ending))) {
        found.push({ path: inner, text: readFileSync(path.join(root, inner), "utf8") });
      }
    }
  };
  visit(folder);
  return found.sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** What a TypeScript file imports: package names, or paths from the root for its own files. */
export function importsOf({ path: file, text }: Source): readonly string[] {
  const specifiers = [...text.matchAll(/(?:\bfrom\s*|\bimport\s*\(?\s*|\brequire\(\s*)["']([^"'\n]+)["']/g)].map((match) => match[1]!);
  return specifiers.map((specifier) =>
    specifier.startsWith(".") ? path.posix.join(path.posix.dirname(file), specifier).replace(/\.(?:js|ts|mjs)$/, "") : specifier,
  );
}

/** What a C++ file includes, as it is written, without brackets. */
export function includesOf({ text }: Source): readonly string[] {
  return [...text.matchAll(/^\s*#\s*include\s*[<"]([^>"]+)[>"]/gm)].map((match) => match[1]!);
}

/** `path: finding` of every source and each of its findings that breaks a rule. */
export function violations(
  sources: readonly Source[],
  findings: (source: Source) => readonly string[],
  breaks: (finding: string, file: string) => boolean,
): readonly string[] {
  return sources.flatMap((source) =>
    findings(source)
      .filter((finding) => breaks(finding, source.path))
      .map((finding) => `${source.path}: ${finding}`),
  );
}

/** Text without comments and without the contents of strings, so that words in them are not taken for code. */
export function codeOf(text: string): string {
  return text.replace(/\/\*[^]*?\*\/|\/\/[^\n]*|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'/g, (found) => (found[0] === "/" ? " " : `""`));
}
