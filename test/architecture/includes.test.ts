import { describe, expect, it } from "vitest";
import { includesOf, type Source, sourcesIn, violations } from "./sources.js";

const endings = [".cpp", ".h", ".hpp", ".cu", ".cuh", ".inc"];
const native = [...sourcesIn("native/src", endings), ...sourcesIn("native/include", endings), ...sourcesIn("native/tools", endings)];
const kernels = sourcesIn("kernels", endings);
const check = (sources: readonly Source[], breaks: (included: string, file: string) => boolean) =>
  expect(violations(sources, includesOf, breaks)).toEqual([]);

/** What each layer of the engine may include, from the outside in. `pipo` is the public face. */
const layers: Readonly<Record<string, readonly string[]>> = {
  binding: ["pipo", "engine", "core", "platform", "kernels"],
  engine: ["pipo", "cache", "core", "decode", "kernels", "model", "platform", "weights"],
  decode: ["pipo", "cache", "core", "kernels", "model", "platform"],
  weights: ["pipo", "core", "kernels", "model", "platform"],
  model: ["pipo", "cache", "core", "kernels"],
  cache: ["pipo", "core", "kernels"],
  platform: ["pipo", "core"],
  core: ["pipo"],
};

describe("includes", () => {
  it("are found as they are written", () => {
    const text = `#include <napi.h>\n  # include "a/b.h" // why\n// #include "c.h"\n`;
    expect(includesOf({ path: "x", text })).toEqual(["napi.h", "a/b.h"]);
    expect(native.length).toBeGreaterThan(30);
    expect(kernels.length).toBeGreaterThan(20);
  });

  it("of the Node-API are in native/src/binding only", () => {
    const isNodeApi = (included: string) => /^(?:napi|node_api|js_native_api|node|v8|uv)\b.*\.h$/.test(included);
    check([...native, ...kernels], (included, file) => isNodeApi(included) && !file.startsWith("native/src/binding/"));
    expect(native.some((source) => includesOf(source).some(isNodeApi))).toBe(true);
  });

  it("of CUDA are in kernels/cuda only", () => {
    const isCuda = (included: string) => /^(?:cuda|cublas|cub\/|cooperative_groups|nvrtc|nvml|mma)/.test(included);
    check([...native, ...kernels], (included, file) => isCuda(included) && !file.startsWith("kernels/cuda/"));
  });

  it("of the CUDA library's interface are in the model over it, where tensors get their names, and where it is opened only", () => {
    const places = ["native/src/model/cuda/", "native/src/engine/model_opener.", "native/src/weights/weight_map.h", "native/tools/"];
    const isInterface = (included: string) => included.startsWith("kernels/cuda_");
    check(native, (included, file) => isInterface(included) && !places.some((place) => file.startsWith(place)));
    expect(native.some((source) => includesOf(source).some(isInterface))).toBe(true);
  });

  it("of processor intrinsics are in kernels/cpu only", () => {
    const isIntrinsics = (included: string) => /^(?:[a-z]?mmintrin|immintrin|x86intrin|x86gprintrin|arm_neon|arm_sve|arm_acle|cpuid)\b/.test(included);
    check([...native, ...kernels], (included, file) => isIntrinsics(included) && !file.startsWith("kernels/cpu/"));
    expect(kernels.some((source) => includesOf(source).some(isIntrinsics))).toBe(true);
  });

  it("of kernels reach nothing of the engine", () => {
    check(kernels, (included) => /^(?:pipo|native|binding|engine|cache|decode|model|weights|platform|core)\//.test(included));
  });

  it("of the scalar reference reach no other backend", () => {
    const reference = kernels.filter(({ path }) => path.startsWith("kernels/reference/"));
    check(reference, (included) => /^kernels\/(?:cpu|cuda)\//.test(included));
  });

  it("of the engine reach kernels through their public headers", () => {
    check(native, (included) => /^kernels\/(?:reference|cpu|cuda)\//.test(included));
  });

  it.each(Object.entries(layers))("of native/src/%s keep the direction of dependencies", (layer, allowed) => {
    const sources = native.filter(({ path }) => path.startsWith(`native/src/${layer}/`));
    expect(sources.length).toBeGreaterThan(0);
    check(sources, (included) => {
      const [target, ...rest] = included.split("/");
      return rest.length > 0 && target !== layer && target! in { ...layers, kernels: 1 } && !allowed.includes(target!);
    });
  });

  it("of the public headers reach nothing else", () => {
    const headers = native.filter(({ path }) => path.startsWith("native/include/"));
    check(headers, (included) => included.includes("/") && !included.startsWith("pipo/"));
  });
});
