import { homedir } from "node:os";
import path from "node:path";

/** The one place in the server that reads environment variables. */

/** Where packed weights are kept when the editor does not say: the user's cache directory on this system. */
export function defaultCacheDirectory(): string {
  return path.join(userCacheDirectory(), "pipo");
}

/** Where downloaded models are kept, shared by all windows and programs of this user. */
export function defaultModelsDirectory(): string {
  return process.env["PIPO_MODELS_DIR"] || path.join(userDataDirectory(), "pipo", "models");
}

/** How to reach the hub; what is not set has the usual default. */
export interface NetworkEnvironment {
  readonly hubUrl: string | undefined;
  readonly hubToken: string | undefined;
  readonly httpProxy: string | undefined;
  readonly httpsProxy: string | undefined;
  readonly noProxy: string | undefined;
}

export function networkEnvironment(): NetworkEnvironment {
  const either = (name: string) => process.env[name.toLowerCase()] || process.env[name] || undefined;
  return {
    hubUrl: process.env["HF_ENDPOINT"]?.replace(/\/+$/, "") || undefined,
    hubToken: process.env["HF_TOKEN"]?.trim() || undefined,
    httpProxy: either("HTTP_PROXY"),
    httpsProxy: either("HTTPS_PROXY"),
    noProxy: either("NO_PROXY"),
  };
}

/** Where other programs keep models on this machine; each under the variable that moves it. */
export interface ForeignModelFolders {
  readonly ollama: string;
  readonly lmStudio: readonly string[];
  readonly llamaCpp: string;
  readonly hubCache: string;
  readonly jan: readonly string[];
  readonly gpt4all: string;
}

export function foreignModelFolders(): ForeignModelFolders {
  const home = homedir();
  const cache = process.env["XDG_CACHE_HOME"] || path.join(home, ".cache");
  const huggingFace = process.env["HF_HOME"] || path.join(cache, "huggingface");
  return {
    ollama: process.env["OLLAMA_MODELS"] || path.join(home, ".ollama", "models"),
    lmStudio: [path.join(home, ".lmstudio", "models"), path.join(home, ".cache", "lm-studio", "models")],
    llamaCpp: process.env["LLAMA_CACHE"] || path.join(userCacheDirectory(), "llama.cpp"),
    hubCache: process.env["HF_HUB_CACHE"] || path.join(huggingFace, "hub"),
    jan: [path.join(userConfigDirectory(), "Jan", "data"), path.join(home, "jan")],
    gpt4all: path.join(userDataDirectory(), "nomic.ai", "GPT4All"),
  };
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

function userDataDirectory(): string {
  switch (process.platform) {
    case "win32":
      return process.env["LOCALAPPDATA"] || path.join(homedir(), "AppData", "Local");
    case "darwin":
      return path.join(homedir(), "Library", "Application Support");
    default:
      return process.env["XDG_DATA_HOME"] || path.join(homedir(), ".local", "share");
  }
}

function userConfigDirectory(): string {
  switch (process.platform) {
    case "win32":
      return process.env["APPDATA"] || path.join(homedir(), "AppData", "Roaming");
    case "darwin":
      return path.join(homedir(), "Library", "Application Support");
    default:
      return process.env["XDG_CONFIG_HOME"] || path.join(homedir(), ".config");
  }
}
