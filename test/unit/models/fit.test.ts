import { describe, expect, test } from "vitest";
import { catalogue } from "../../../server/src/models/catalogue.js";
import { expectedSpeed, fitOf, gigabytes, type Machine, memoryNeed, recommended } from "../../../server/src/models/fit.js";

const small: Machine = { kernels: "avx512bf16", threads: 1, totalMemory: 8e9, availableMemory: 6e9, readBandwidth: 12e9 };
const large: Machine = { kernels: "avx512bf16", threads: 15, totalMemory: 64e9, availableMemory: 50e9, readBandwidth: 60e9 };

describe("whether a model fits is said in words", () => {
  test.each([
    [0.5e9, 6e9, "well", "fits well"],
    [2.5e9, 4e9, "tight", "fits, but takes most of the free memory: needs 3.3 GB, 4.0 GB free"],
    [4.64e9, 4e9, "tooLarge", "too large for this machine: needs 6.0 GB, 4.0 GB free"],
    [20e9, 6e9, "tooLarge", "too large for this machine: needs 25.2 GB, which is more than it has (8.0 GB)"],
  ] as const)("%d bytes with %d free", (bytes, availableMemory, kind, words) => {
    expect(fitOf(bytes, { ...small, availableMemory })).toEqual({ kind, words });
  });

  test("and slowness is said, too", () => {
    expect(fitOf(1e9, small, { tokensPerSecond: 7, promptTokensPerSecond: 100 })).toEqual({ kind: "slow", words: "slow on this machine" });
    expect(fitOf(1e9, small, { tokensPerSecond: 9, promptTokensPerSecond: 100 }).kind).toBe("well");
  });

  test("and needs more than the file has", () => expect(memoryNeed(1e9)).toBeGreaterThan(1e9));
});

describe("the expected speed", () => {
  test("follows the bandwidth until the threads are the limit", () => {
    const speed = (machine: Machine) => expectedSpeed(1e9, machine, 2e9)!.tokensPerSecond;
    expect(speed({ ...small, readBandwidth: 5e9 })).toBeCloseTo(4);
    expect(speed({ ...small, readBandwidth: 100e9 })).toBeCloseTo(10);
    expect(speed({ ...small, readBandwidth: 100e9, threads: 2 })).toBeCloseTo(20);
  });

  test("is guessed for a file of which only the size is known", () => {
    expect(expectedSpeed(0.65e9, { ...small, readBandwidth: 100e9 })!.tokensPerSecond).toBeCloseTo(20);
    expect(expectedSpeed(1e3, small)).toBeUndefined();
  });

  test("is not told where nothing was measured", () => {
    expect(expectedSpeed(1e9, { ...small, readBandwidth: undefined })).toBeUndefined();
  });
});

describe("recommended", () => {
  const name = (machine: Machine) => recommended(catalogue, machine)?.name;

  test("is the largest that is quick enough", () => {
    expect(name(small)).toBe("qwen2.5-coder-0.5b");
    expect(name(large)).toBe("qwen2.5-coder-1.5b");
  });

  test("is the smallest where none is, and none where none fits", () => {
    expect(name({ ...small, readBandwidth: 1e9 })).toBe("qwen2.5-coder-0.5b");
    expect(name({ ...small, readBandwidth: undefined })).toBe("qwen2.5-coder-0.5b");
    expect(name({ ...small, availableMemory: 0.5e9 })).toBeUndefined();
  });
});

describe("the catalogue", () => {
  test("has for every entry what a download and a choice need", () => {
    for (const { name, sha256, bytes, licence, abilities, hub, mirror, file } of catalogue) {
      expect(sha256, name).toMatch(/^[0-9a-f]{64}$/);
      expect(abilities.length, name).toBeGreaterThan(0);
      expect(licence, name).not.toBe("");
      expect(file, name).toMatch(/^[\w.-]+\.gguf$/);
      expect(hub ?? mirror, name).toBeDefined();
      if (hub) expect(hub.revision, name).toMatch(/^[0-9a-f]{40}$/);
      if (mirror) expect(mirror.reduce((sum, part) => sum + part.bytes, 0), name).toBe(bytes);
    }
    expect(new Set(catalogue.map(({ name }) => name)).size).toBe(catalogue.length);
    expect(new Set(catalogue.map(({ file }) => file)).size).toBe(catalogue.length);
  });

  test("goes from small to large", () => {
    const sizes = catalogue.map(({ bytes }) => bytes);
    expect(sizes).toEqual([...sizes].sort((a, b) => a - b));
  });
});

test("sizes are told as download pages tell them", () => {
  expect([491_400_064, 98_362_432, 999_600_000, 1_117_320_768].map(gigabytes)).toEqual(["491 MB", "98 MB", "1.0 GB", "1.1 GB"]);
});
