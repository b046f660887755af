// npm test: every kind of test, one stage after the other. A stage that fails does not hide the later ones.
import { ensureNodeModules } from "./prerequisites.mjs";
import { main, Trouble } from "./shell.mjs";
import * as stages from "./stages.mjs";

const isFull = process.env.CI === "true" || process.argv.includes("--all");

/** @type {readonly { name: string, run: stages.Stage, isOnlyInFull?: boolean }[]} */
const all = [
  { name: "types", run: stages.types },
  { name: "build", run: () => stages.bundlesAndEngine(isFull) },
  { name: "node", run: stages.nodeTests },
  { name: "native", run: stages.nativeTests },
  { name: "neon", run: stages.armTests },
  { name: "cuda", run: () => stages.cudaKernels(isFull) },
  { name: "models", run: () => stages.realModels(isFull) },
  { name: "e2e", run: stages.endToEnd },
  { name: "training", run: () => stages.trainingTests(isFull) },
  { name: "asan", run: stages.addressSanitizer, isOnlyInFull: true },
  { name: "tsan", run: stages.threadSanitizer, isOnlyInFull: true },
];

const help = `npm test [-- options]
  --only A,B  these stages alone: ${all.map(({ name }) => name).join(", ")}
  --all       also the sanitizers, the training tests, the CUDA kernels and models that must be fetched (as in CI)
`;

main(async () => {
  if (process.argv.includes("--help")) return console.log(help);
  const chosen = chosenStages();
  await ensureNodeModules();
  /** @type {{ name: string, seconds: number, count: stages.Count }[]} */
  const results = [];
  for (const { name, run } of chosen) {
    console.log(`\n\x1b[1m=== ${name}\x1b[0m`);
    const started = Date.now();
    const count = await run().catch(asFailure);
    results.push({ name, seconds: (Date.now() - started) / 1000, count });
  }
  return summarise(results);
});

function chosenStages() {
  const at = process.argv.indexOf("--only");
  if (at === -1) return all.filter(({ isOnlyInFull }) => isFull || !isOnlyInFull);
  const names = (process.argv[at + 1] ?? "").split(",");
  const unknown = names.filter((name) => !all.some((stage) => stage.name === name));
  if (0 < unknown.length) throw new Trouble(`no stage is called ${unknown.join(", ")}\n${help}`);
  return all.filter(({ name }) => names.includes(name));
}

/** @param {unknown} error @returns {stages.Count} */
function asFailure(error) {
  console.error(`\x1b[31m✗\x1b[0m ${error instanceof Trouble ? error.message : error instanceof Error ? error.stack : error}`);
  return { passed: 0, failed: 1, skipped: 0 };
}

/** @param {readonly { name: string, seconds: number, count: stages.Count }[]} results */
function summarise(results) {
  console.log("");
  for (const { name, seconds, count } of results) {
    const mark = 0 < count.failed ? "\x1b[31m✗\x1b[0m" : "\x1b[32m✓\x1b[0m";
    const numbers = `${count.passed} passed, ${count.failed} failed, ${count.skipped} skipped`;
    console.log(`${mark} ${name.padEnd(10)} ${numbers.padEnd(38)} ${seconds.toFixed(1)} s${count.note ? `  ${count.note}` : ""}`);
  }
  const sum = (/** @type {"passed" | "failed" | "skipped"} */ what) => results.reduce((total, { count }) => total + count[what], 0);
  console.log(`\n${sum("passed")} passed, ${sum("failed")} failed, ${sum("skipped")} skipped`);
  return sum("failed") === 0 ? 0 : 1;
}
