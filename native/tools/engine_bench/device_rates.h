#pragma once

#include <memory>

#include "engine_bench/options.h"
#include "kernels/cuda_library.h"

namespace pipo::bench {

/// What the steps are compared with: how fast as many bytes pass through the memory that holds the weights, by a read
/// on the CPU and by a copy on a device; and how fast a device multiplies.
class DeviceRates {
 public:
  DeviceRates(const Options& o, const EngineInfo& info);

  bool on_device() const { return cuda_ != nullptr; }
  const char* pass_name() const { return cuda_ ? "copy" : "read"; }
  /// Bytes per second; measured anew each time.
  double memory_pass() const;
  /// Multiplications and additions of bf16 per second out of registers (mma.sync). Only on a device.
  double matrix() const;

 private:
  std::int64_t bytes_;
  int threads_;
  std::shared_ptr<kernels::CudaLibrary> cuda_;
};

}  // namespace pipo::bench
