#pragma once

#include <cstdint>

#include "kernels/packed_matrix.h"

/// How a matrix lies in device memory: plain rows, padded with zeros to whole loads of a warp, so that every load is
/// one full line and no kernel has a tail along k. Scales of quantised rows lie apart, one bf16 per group.
///
/// Within a row, 32-bit words follow one another as in a line of the packed panels: 1 (f32), 2 (bf16) or 4 (int8)
/// neighbouring inputs; for int4, four words per 32 inputs, word j with inputs 4j... in the low nibbles and 16 + 4j...
/// in the high ones, as q + 8.
namespace pipo::cuda {

using kernels::WeightType;

/// Lanes that read one row together, 16 bytes each. Int4 rows are short: two rows per warp keep all lanes busy.
constexpr int lanes_per_row(WeightType type) { return type == WeightType::kInt4 ? 16 : 32; }

/// Inputs in the 16 bytes of one lane.
constexpr int inputs_per_lane(WeightType type) {
  switch (type) {
    case WeightType::kF32: return 4;
    case WeightType::kBf16: return 8;
    case WeightType::kInt8: return 16;
    default: return 32;
  }
}

constexpr int row_step(WeightType type) { return lanes_per_row(type) * inputs_per_lane(type); }
constexpr int padded_inputs(WeightType type, int k) { return (k + row_step(type) - 1) / row_step(type) * row_step(type); }
constexpr std::int64_t row_bytes(WeightType type, int k_padded) {
  return std::int64_t{k_padded} * 16 / inputs_per_lane(type);
}
constexpr bool is_quantised(WeightType type) { return type == WeightType::kInt8 || type == WeightType::kInt4; }

/// A matrix W [n, k] in device memory. Owns nothing.
struct Matrix {
  const std::uint8_t* rows = nullptr;     ///< [n, row_bytes]
  const std::uint16_t* scales = nullptr;  ///< [n, k_padded / group], bf16; null unless quantised
  WeightType type = WeightType::kF32;
  std::int32_t group = 0;
  std::int32_t n = 0, k = 0, k_padded = 0;
};

constexpr std::int64_t weight_bytes(WeightType type, int n, int k) {
  return n * row_bytes(type, padded_inputs(type, k));
}
constexpr std::int64_t scale_bytes(WeightType type, int group, int n, int k) {
  return is_quantised(type) ? std::int64_t{n} * (padded_inputs(type, k) / group) * 2 : 0;
}

}  // namespace pipo::cuda
