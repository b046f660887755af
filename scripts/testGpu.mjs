// npm run test:gpu: what needs an NVIDIA device, built for the one of this machine and run: tests, models, memory
// checker, bench. kernels/cuda/device_run.sh does the work; on a machine without Node it is started by itself.
import { ensureNvcc } from "./cuda.mjs";
import { ensure, needs } from "./prerequisites.mjs";
import { ask, inRoot, main, run, say, Trouble } from "./shell.mjs";

main(async () => {
  const [name, capability] = device();
  await ensure(needs.nativeBuild);
  const nvcc = await ensureNvcc();
  say(`${name}, compute capability ${capability}; ${nvcc.program}`);
  const results = inRoot("build/device-results");
  const env = { ...process.env, CUDACXX: nvcc.program, OUT: results };
  await run("bash", [inRoot("kernels/cuda/device_run.sh"), targetFor(capability)], { env }).finally(() => say(`logs and tables: ${results}`));
});

/** @returns {readonly [string, string]} name and compute capability of the first device */
function device() {
  const found = ask("nvidia-smi", ["--query-gpu=name,compute_cap", "--format=csv,noheader"])?.split("\n")[0]?.split(", ");
  if (found?.[0] !== undefined && found[1] !== undefined) return [found[0], found[1]];
  throw new Trouble("No NVIDIA device was found on this machine (nvidia-smi lists none), so there is nothing to run these tests on.");
}

/** 9.0 becomes 90a: its matrix instructions are those of this one architecture. @param {string} capability */
function targetFor(capability) {
  const digits = capability.replace(".", "");
  return digits === "90" ? "90a" : digits;
}
