import { expect, test } from "vitest";
import { countNative } from "../../../scripts/stages.mjs";

test("cases of all programs are added up", () => {
  const output = "1: ok     a\n1: 2 passed, 0 failed\n1/2 Test #1: kernels ....   Passed    0.1 sec\n2: 3 passed, 1 failed\n2/2 Test #2: engine ....***Failed    0.1 sec\n";
  expect(countNative(output)).toEqual({ passed: 5, failed: 1, skipped: 0 });
});

test("a program that breaks off before it has counted is a failure", () => {
  const output = "1: 2 passed, 0 failed\n1/2 Test #1: kernels ....   Passed    0.1 sec\n2: ok     a\n2/2 Test #2: engine ....***Exception: SegFault  0.1 sec\n";
  expect(countNative(output)).toEqual({ passed: 2, failed: 1, skipped: 0 });
});

test("a program without its device is skipped, not failed", () => {
  const output = "1: no device\n1/2 Test #1: cuda_gemv_test ....***Skipped    0.1 sec\n2: 3 passed, 0 failed\n2/2 Test #2: kernels ....   Passed    0.1 sec\n";
  expect(countNative(output)).toEqual({ passed: 3, failed: 0, skipped: 1 });
});

test("no program at all is an error, not a success", () => {
  expect(() => countNative("No tests were found!!!\n")).toThrow(/no test program/);
});
