#include "kernels/cuda/engine/copy_rate.h"

#include <algorithm>

#include "kernels/cuda/engine/resources.h"

namespace pipo::cuda {

double measure_copy_rate(std::int64_t bytes) {
  constexpr int kPasses = 5;
  const DeviceMemory from(bytes), to(bytes);
  const OwnedStream stream;
  const OwnedEvent begin, end;
  double best = 0.0;
  check(runtime::fill(from.get(), 1, bytes, stream.get()), "fill memory");
  for (int pass = 0; pass < kPasses; ++pass) {
    float ms = 0.0f;
    check(runtime::record(begin.get(), stream.get()), "measure a copy");
    check(runtime::copy(to.get(), from.get(), bytes, stream.get()), "measure a copy");
    check(runtime::record(end.get(), stream.get()), "measure a copy");
    check(runtime::wait(end.get()), "measure a copy");
    check(runtime::milliseconds(begin.get(), end.get(), &ms), "measure a copy");
    best = std::max(best, 2e3 * static_cast<double>(bytes) / std::max(ms, 1e-6f));
  }
  return best;
}

}  // namespace pipo::cuda
