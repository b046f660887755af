#pragma once

#include <cstdio>

#include "kernels/cuda_library.h"
#include "native/engine_fixture.h"

/// Engines over the CUDA library. Every test of this folder is one source for two programs: over the emulated library,
/// which runs anywhere but slowly, and over the real one, skipped where there is no device.
namespace pipo::test {

inline LoadOptions device_options(DeviceStepping stepping = DeviceStepping::kGraph,
                                  WeightDtype dtype = WeightDtype::kF32) {
  LoadOptions options = load_options(dtype, "cuda");
  // Loading compares the device with the CPU, which takes long under emulation; failures_test looks at that.
  options.cuda = {PIPO_CUDA_LIBRARY, PIPO_CUDA_DRIVER, stepping, !PIPO_CUDA_EMULATED};
  return options;
}

inline std::shared_ptr<Engine> load_on_device(const std::string& name,
                                              DeviceStepping stepping = DeviceStepping::kGraph) {
  return load_golden(name, device_options(stepping));
}

inline std::shared_ptr<Engine> load_on_cpu(const std::string& name) {
  return load_golden(name, load_options(WeightDtype::kF32, "cpu"));
}

inline int run_on_device(int argc, char** argv) {
  constexpr int kSkipped = 77;
  std::string reason;
  if (!kernels::open_cuda_library({PIPO_CUDA_LIBRARY, PIPO_CUDA_DRIVER}, &reason)) {
    std::printf("skipped: %s\n", reason.c_str());
    return kSkipped;
  }
  return run(argc, argv);
}

}  // namespace pipo::test
