// npm run package: one VSIX for this platform, with the engine and the bundled model inside. The CUDA kernels are in it
// where nvcc was found; npm run package -- --cuda, for releases, installs the compiler beside the build first.
import { existsSync, statSync } from "node:fs";
import { build, cudaLibrary } from "./build.mjs";
import { ensureNvcc } from "./cuda.mjs";
import { inRoot, isEntryPoint, main, run, say, Trouble } from "./shell.mjs";

/** A download of this size is still quick, and a marketplace takes it. */
const sizeLimitBytes = 60e6;

/** What a VSIX without which would install and then not work. */
const required = ["dist/extension.js", "dist/server.js", "dist/cli.js", "dist/pipo_engine.node", "dist/THIRD-PARTY-NOTICES.txt", "models"];

/**
 * @param {{ withCuda?: boolean }} [options]  `withCuda`: no VSIX without the CUDA kernels
 * @returns {Promise<string>} path of the VSIX
 */
export async function packageExtension({ withCuda = false } = {}) {
  if (withCuda) await ensureNvcc();
  await build();
  const missing = [...required, ...(withCuda ? [cudaLibrary] : [])].filter((place) => !existsSync(inRoot(place)));
  if (0 < missing.length) throw new Trouble(`cannot package without ${missing.join(", ")}`);
  const target = `${process.platform}-${process.arch}`;
  const file = inRoot(`pipo-${target}.vsix`);
  const vsce = inRoot("node_modules/@vscode/vsce/vsce");
  const flags = ["--target", target, "--no-dependencies", "--allow-missing-repository", "--no-rewrite-relative-links"];
  await run(process.execPath, [vsce, "package", ...flags, "--out", file], { quiet: true });
  const { size } = statSync(file);
  if (sizeLimitBytes < size) throw new Trouble(`${file} has ${(size / 1e6).toFixed(1)} MB; the limit is ${sizeLimitBytes / 1e6} MB`);
  say(`packaged ${file} (${(size / 1e6).toFixed(1)} MB), ${cudaPart()}`);
  return file;
}

function cudaPart() {
  const library = inRoot(cudaLibrary);
  if (!existsSync(library)) return "without CUDA kernels: there is no nvcc here; npm run package -- --cuda installs one";
  return `CUDA kernels included (${(statSync(library).size / 1e6).toFixed(1)} MB before packing)`;
}

if (isEntryPoint(import.meta.url)) {
  main(async () => void (await packageExtension({ withCuda: process.argv.includes("--cuda") })));
}
