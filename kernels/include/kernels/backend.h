#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernels/ops.h"

namespace pipo::kernels {

/// A set of operations together with the workers that run them.
class Backend : public Ops {
 public:
  /// "reference", "avx2", "avx512", "neon", ...
  virtual const char* name() const = 0;
  /// Threads that take part in an operation, the caller included.
  virtual int threads() const = 0;
  /// Words for the last kDeviceError; empty when there was none.
  virtual std::string last_error() const { return {}; }
};

/// What chooses by itself among everything there is.
inline constexpr const char* kAutomatic = "auto";

/// The kernels asked for: `name`, else the environment variable PIPO_KERNELS, else kAutomatic.
std::string wanted_kernels(const std::string& name);

struct BackendOptions {
  std::string name;  ///< as for wanted_kernels; kAutomatic and "cpu": the best that this CPU runs
  int threads = 0;   ///< 0: cores - 1, at least 1
};

/// Makes a backend, or returns null and says why in `reason` (unknown name, CPU without the features).
std::unique_ptr<Backend> make_backend(const BackendOptions& options, std::string* reason);

/// Names of the CPU's kernels that are compiled in and run here, best first; "reference" is always last.
std::vector<std::string> available_backends();

/// Sequential read bandwidth of `bytes` of memory in bytes per second, best of `passes`.
double measure_read_bandwidth(std::int64_t bytes, int threads, int passes);

}  // namespace pipo::kernels
