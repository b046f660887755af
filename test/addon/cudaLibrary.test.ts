import { existsSync } from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { librarySurface } from "../../scripts/cuda.mjs";
import { packageRoot } from "../../server/src/packageRoot.js";

const library = path.join(packageRoot(), "dist/libpipo_cuda.so");

/** Skipped where there was no nvcc to build it with. */
describe.skipIf(!existsSync(library))("the CUDA library beside the addon", () => {
  test("needs nothing of NVIDIA's to be installed: the driver is looked for when it runs", () => {
    const { needed } = librarySurface(library);
    expect(needed.filter((name) => !/^(?:lib(?:c|m|dl|rt|pthread|stdc\+\+|gcc_s)\.so|ld-linux)/.test(name))).toEqual([]);
    expect(needed).toContain("libc.so.6");
  });

  test("exports its one function, so that its CUDA runtime meets no other one", () => {
    expect(librarySurface(library).exported).toEqual(["pipo_cuda_api"]);
  });
});
