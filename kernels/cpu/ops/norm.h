#pragma once

#include <cstdint>

#include "kernels/cpu/ops/vector_math.h"

namespace pipo::kernels::cpu::PIPO_TARGET {

/// y = x * rsqrt(mean(x^2) + eps) * w for one row; y may be x.
static inline void rms_norm_row(const float* x, const float* w, float eps, std::int32_t dim, float* y) {
  const F32 scale = f32_set1(1.0f / __builtin_sqrtf(sum_of_squares(x, dim) / static_cast<float>(dim) + eps));
  for_each_vector(dim, [&](std::int64_t i, int lanes) {
    const F32 value = f32_mul(load_lanes(x + i, lanes), scale);
    store_lanes(y + i, f32_mul(value, load_lanes(w + i, lanes)), lanes);
  });
}

static void rms_norm_rows(const float* x, const float* w, float eps, std::int32_t dim, float* y, std::int32_t begin,
                          std::int32_t end) {
  for (std::int64_t r = begin; r < end; ++r) rms_norm_row(x + r * dim, w, eps, dim, y + r * dim);
}

}  // namespace pipo::kernels::cpu::PIPO_TARGET
