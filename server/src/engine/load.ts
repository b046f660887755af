import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { messageOf } from "../files.js";
import { ModelError } from "../modelError.js";
import { packageRoot } from "../packageRoot.js";
import type { Addon } from "./addon.js";

export const addonFileName = "pipo_engine.node";

let loaded: Addon | undefined;

/** The addon, loaded on first use. Throws ModelError `unsupported` with what was tried and what to do. */
export function loadAddon(): Addon {
  loaded ??= openAddon(addonFile());
  return loaded;
}

/** Where the addon lies: beside the bundles of the installed package or of the repository. */
function addonFile(): string {
  const file = path.join(packageRoot(), "dist", addonFileName);
  if (existsSync(file)) return file;
  throw new ModelError(
    "unsupported",
    `The native engine is missing: there is no ${file}. In a checkout run "npm run build"; otherwise install the package for ${platformName()}.`,
  );
}

/** Opens one addon file; exported for tests. */
export function openAddon(file: string): Addon {
  try {
    return createRequire(file)(file) as Addon;
  } catch (error) {
    throw new ModelError("unsupported", explainOpenFailure(file, messageOf(error)), { cause: error });
  }
}

/** The loader's words turned into what to do. */
export function explainOpenFailure(file: string, reason: string): string {
  const glibc = /GLIBC(?:XX)?_[\d.]+/.exec(reason)?.[0];
  if (glibc)
    return `${file} needs ${glibc}, which this system does not have. Build it here with "npm run build", or use a newer system.`;
  // For a library of another processor the loader says that the file itself is not there.
  const library = /^(.+): cannot open shared object file/.exec(reason)?.[1];
  if (library !== undefined && library !== file)
    return `${file} needs ${library}, which is not installed. Install it with the system's package manager.`;
  if (
    library === file ||
    /invalid ELF header|wrong ELF class|Exec format|incompatible architecture|not a valid Win32|slice is not valid/i.test(
      reason,
    )
  ) {
    return `${file} was built for another system or processor, or is damaged. Install the package for ${platformName()}.`;
  }
  if (/symbol|dlsym|procedure could not be found/i.test(reason)) {
    return `${file} does not fit this Node (${process.version}): ${reason}. Node 20 or later is needed.`;
  }
  return `${file} cannot be loaded: ${reason}. In a checkout run "npm run build"; otherwise install the package again.`;
}

function platformName(): string {
  return `${process.platform}-${process.arch}`;
}
