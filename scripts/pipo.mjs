#!/usr/bin/env node
// npx pipo: the command line of this checkout, built first where it is missing.
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { build } from "./build.mjs";
import { inRoot, main } from "./shell.mjs";

main(async () => {
  const isBuilt = ["dist/cli.js", "dist/pipo_engine.node"].every((file) => existsSync(inRoot(file)));
  if (!isBuilt) await build();
  createRequire(import.meta.url)(inRoot("dist/cli.js"));
});
