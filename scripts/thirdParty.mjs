// The licences of everything that is bundled, for dist/THIRD-PARTY-NOTICES.txt.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { inRoot, Trouble } from "./shell.mjs";

/** Headers that are compiled into the engine. */
const compiledIn = ["node_modules/node-addon-api", "node_modules/node-api-headers"];

/** Linked into the CUDA kernels. */
const cudaRuntime = `${"=".repeat(80)}
NVIDIA CUDA Runtime, in dist/libpipo_cuda.so where the package has that file
${"=".repeat(80)}

Copyright NVIDIA Corporation. All rights reserved. The runtime library is linked statically and distributed under the
NVIDIA CUDA Toolkit End User License Agreement: https://docs.nvidia.com/cuda/eula/
`;

/**
 * @param {readonly string[]} inputs  files that went into the bundles, relative to the repository
 * @returns {string}
 */
export function thirdPartyNotices(inputs) {
  const folders = new Set([...inputs.map(packageFolder).filter((folder) => folder !== undefined), ...compiledIn]);
  const parts = [...folders].sort().map(noticeOf);
  return `This extension contains the following packages.\n\n${[...parts, cudaRuntime].join("\n")}`;
}

/** `node_modules/a/lib/x.js` → `node_modules/a`; scoped and nested packages alike.
 * @param {string} file
 */
function packageFolder(file) {
  const found = file.match(/^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//);
  return found?.[1];
}

/** @param {string} folder */
function noticeOf(folder) {
  const manifest = JSON.parse(readFileSync(inRoot(folder, "package.json"), "utf8"));
  const licence = readdirSync(inRoot(folder)).find((name) => /^(licen[cs]e|copying)/i.test(name));
  if (licence === undefined && manifest.license === undefined) throw new Trouble(`${folder} states no licence`);
  const text = licence === undefined ? `Licence: ${manifest.license}\n` : readFileSync(path.join(inRoot(folder), licence), "utf8");
  const notice = existsSync(inRoot(folder, "NOTICE")) ? `\n${readFileSync(inRoot(folder, "NOTICE"), "utf8")}` : "";
  const line = "=".repeat(80);
  return `${line}\n${manifest.name} ${manifest.version} (${manifest.license ?? "see below"})\n${line}\n\n${text.trim()}\n${notice}`;
}
