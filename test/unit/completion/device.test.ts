import { describe, expect, it } from "vitest";
import { DeviceError } from "../../../server/src/engine/engine.js";
import { ServiceUnderTest } from "../../support/completion.js";
import type { FakeModelOptions } from "../../support/fakeEngine.js";

const newestStatus = async (options: FakeModelOptions) => {
  const test = new ServiceUnderTest(() => "1", options);
  await test.text("x = █\n");
  return test.statuses.at(-1);
};

describe("what computes", () => {
  it("is the processor with its threads", async () => {
    expect(await newestStatus({})).toMatchObject({ backend: "fake, int8, 1 threads", backendNote: null });
  });

  it("is a device with its name", async () => {
    const info = { backend: "cuda", device: "NVIDIA H100", threads: 0, dtype: "mix" } as const;
    expect(await newestStatus({ info })).toMatchObject({ backend: "cuda on NVIDIA H100, mix", backendNote: null });
  });

  it("says why it is the processor where a device would have been taken", async () => {
    const backendNote = "running on the CPU: the driver is too old";
    expect(await newestStatus({ info: { backendNote } })).toMatchObject({ state: "ready", backendNote, message: null });
  });
});

it("a device that was asked for and cannot be used is an error that leads to the settings", async () => {
  const test = new ServiceUnderTest(() => "1", {}, async () => {
    throw new DeviceError("unsupported", "CUDA cannot be used: there is no driver.");
  });
  await test.text("x = █\n");
  expect(test.statuses.at(-1)).toMatchObject({ state: "error", action: "openSettings", message: expect.stringContaining("no driver") });
});
