#pragma once

#include <cstdint>

namespace pipo::cuda {

/// Bytes per second, read and written, of a copy of `bytes` within the device's memory; the best of a few.
double measure_copy_rate(std::int64_t bytes);

}  // namespace pipo::cuda
