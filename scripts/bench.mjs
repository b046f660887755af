// npm run bench: the command line's benchmark, built first where needed. Options are handed on.
import { build } from "./build.mjs";
import { inRoot, main, run } from "./shell.mjs";

main(async () => {
  await build();
  await run(process.execPath, [inRoot("dist/cli.js"), "bench", ...process.argv.slice(2)]);
});
