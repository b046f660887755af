#pragma once

#include <cstdint>

/// What the device itself can do, for shares of it.
namespace pipo::cuda {

/// Bytes per second, read and written, of a copy of `bytes` within the device's memory; the best of a few.
double measure_copy_rate(std::int64_t bytes);

/// Multiplications and additions per second of bf16 products on the tensor cores, operands in registers; the best of a
/// few runs of some milliseconds.
double measure_matrix_rate();

}  // namespace pipo::cuda
