import { readFileSync } from "node:fs";
import path from "node:path";

/**
 * The directory that holds our package.json: the repository, or the installed extension. `from` is a
 * directory inside it; bundles and sources lie at different depths.
 */
export function packageRoot(from: string = __dirname): string {
  for (let directory = from; ; directory = path.dirname(directory)) {
    if (isOurPackage(path.join(directory, "package.json"))) return directory;
    if (directory === path.dirname(directory))
      throw new Error(`No package.json of pipo above ${from}. Install the package again.`);
  }
}

function isOurPackage(file: string): boolean {
  try {
    return (JSON.parse(readFileSync(file, "utf8")) as { name?: unknown }).name === "pipo";
  } catch {
    return false;
  }
}

/** The version that our package.json states. */
export function packageVersion(): string {
  const text = readFileSync(path.join(packageRoot(), "package.json"), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}
