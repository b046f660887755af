#pragma once

#include <cstdint>

#include "kernels/cpu/ops/vector_math.h"

namespace pipo::kernels::cpu::PIPO_TARGET {

static void silu_range(float* x, std::int64_t begin, std::int64_t end) {
  for_each_vector(end - begin, [&](std::int64_t i, int lanes) {
    store_lanes(x + begin + i, f32_silu(load_lanes(x + begin + i, lanes)), lanes);
  });
}

static void silu_multiply_range(const float* gate, const float* up, float* out, std::int64_t begin, std::int64_t end) {
  for_each_vector(end - begin, [&](std::int64_t i, int lanes) {
    const F32 activated = f32_silu(load_lanes(gate + begin + i, lanes));
    store_lanes(out + begin + i, f32_mul(activated, load_lanes(up + begin + i, lanes)), lanes);
  });
}

}  // namespace pipo::kernels::cpu::PIPO_TARGET
