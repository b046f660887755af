import { expect, test } from "vitest";
import { spillingKernels } from "../../../scripts/cuda.mjs";

const report = `Registers of a thread / bytes of static shared memory / bytes of stack / bytes spilled. Bold: spills, or may be.

| kernel | sm_80 | sm_90a |
|---|---|---|
| delta_step_kernel<1> | **40 / 1280 / 16 / 20** | 46 / 1280 / 0 / 0 |
| gemm_kernel<3> | 125 / 0 / 0 / 0 | **255 / 0 / 640 / 640** |
| kernels in bold, of 2 | 1 | 1 |

| part of the library | kB |
|---|---|
| the whole file | 11500 |
`;

test("kernels that spill more than the limit on any target are named", () => {
  expect(spillingKernels(report, 64)).toEqual([expect.stringContaining("gemm_kernel<3>")]);
  expect(spillingKernels(report, 8).length).toBe(2);
  expect(spillingKernels(report, 1000)).toEqual([]);
});
