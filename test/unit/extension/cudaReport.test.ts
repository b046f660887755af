import { expect, test } from "vitest";
import { reportTable, usesIn } from "../../../extension/dev/cuda.mjs";

const printed = `ptxas info    : 272 bytes gmem, 16 bytes cmem[4]
ptxas info    : Compiling entry function '_ZN4pipo4cuda11gemv_kernelILNS_7kernels10WeightTypeE2ELi4EEEvNS0_8GemvArgsE' for 'sm_90a'
ptxas info    : Function properties for _ZN4pipo4cuda11gemv_kernelILNS_7kernels10WeightTypeE2ELi4EEEvNS0_8GemvArgsE
    8 bytes stack frame, 4 bytes spill stores, 8 bytes spill loads
ptxas info    : Used 80 registers, used 1 barriers, 8 bytes cumulative stack size, 128 bytes smem
ptxas info    : Compiling entry function '_ZN4pipo4cuda11gemv_kernelILNS_7kernels10WeightTypeE2ELi4EEEvNS0_8GemvArgsE' for 'sm_120'
ptxas info    : Function properties for _ZN4pipo4cuda11gemv_kernelILNS_7kernels10WeightTypeE2ELi4EEEvNS0_8GemvArgsE
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 74 registers, used 1 barriers
`;

test("registers, shared memory and spills are read from what ptxas prints", () => {
  expect(usesIn(printed)).toEqual([
    { kernel: "gemv_kernel<2, 4>", target: "sm_90a", registers: 80, sharedBytes: 128, spillBytes: 4 },
    { kernel: "gemv_kernel<2, 4>", target: "sm_120", registers: 74, sharedBytes: 0, spillBytes: 0 },
  ]);
});

test("a kernel is one line, its targets from the oldest to the newest", () => {
  const [header, ...rows] = reportTable(usesIn(printed)).split("\n");
  expect(header).toMatch(/registers .* sm_90a +sm_120 +shared bytes$/);
  expect(rows).toEqual([expect.stringMatching(/^gemv_kernel<2, 4> +80 \+4 +74 +128$/)]);
});

test("a file without kernels has none", () => expect(usesIn("nothing\n")).toEqual([]));
