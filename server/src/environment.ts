import { homedir } from "node:os";
import path from "node:path";

/** The one place in the server that reads environment variables. */

/** Where packed weights are kept when the editor does not say: the user's cache directory on this system. */
export function defaultCacheDirectory(): string {
  return path.join(userCacheDirectory(), "pipo");
}

function userCacheDirectory(): string {
  switch (process.platform) {
    case "win32":
      return process.env["LOCALAPPDATA"] || path.join(homedir(), "AppData", "Local");
    case "darwin":
      return path.join(homedir(), "Library", "Caches");
    default:
      return process.env["XDG_CACHE_HOME"] || path.join(homedir(), ".cache");
  }
}
