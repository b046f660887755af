#pragma once

#include <cstdint>

#include "kernels/check_shapes.h"
#include "kernels/cpu/ops/norm.h"
#include "kernels/cpu/target.h"

namespace pipo::kernels::cpu::PIPO_TARGET {

/// Cosines and sines of one position's rotary angles, [rotary_dim / 2] each.
struct RotaryAngles {
  float cosines[kMaxHeadDim / 2];
  float sines[kMaxHeadDim / 2];
};

static void fill_angles(const AttentionPrepareArgs& args, int position, RotaryAngles& angles) {
  for (int i = 0; i < args.shape->rotary_dim / 2; ++i) {
    // In double, because positions reach 10^5 and more: the fp32 product would be off by almost 10^-2 radians.
    const double angle = static_cast<double>(position) * args.inv_freq[i];
    angles.cosines[i] = static_cast<float>(args.shape->rotary_scale * __builtin_cos(angle));
    angles.sines[i] = static_cast<float>(args.shape->rotary_scale * __builtin_sin(angle));
  }
}

/// Element i turns with element i + half.
static void rotate(const RotaryAngles& angles, int half, float* x) {
  for_each_vector(half, [&](std::int64_t i, int lanes) {
    const F32 cosine = load_lanes(angles.cosines + i, lanes), sine = load_lanes(angles.sines + i, lanes);
    const F32 low = load_lanes(x + i, lanes), high = load_lanes(x + half + i, lanes);
    store_lanes(x + i, f32_fma(low, cosine, negate(f32_mul(high, sine))), lanes);
    store_lanes(x + half + i, f32_fma(high, cosine, f32_mul(low, sine)), lanes);
  });
}

static void copy_row(const float* row, int dim, float* to) {
  for_each_vector(dim, [&](std::int64_t i, int lanes) { store_lanes(to + i, load_lanes(row + i, lanes), lanes); });
}

/// out = RoPE(norm(x; w)) of one head; w null: RoPE(x).
static void norm_and_rotate(const AttentionShape& shape, const float* x, const float* w, const RotaryAngles& angles,
                            float* out) {
  if (w != nullptr) {
    rms_norm_row(x, w, shape.eps, shape.head_dim, out);
  } else {
    copy_row(x, shape.head_dim, out);
  }
  rotate(angles, shape.rotary_dim / 2, out);
}

static void store_row(const float* row, int dim, const KvCache& cache, void* rows, std::int64_t index) {
  if (cache.type == KvType::kF32) return copy_row(row, dim, static_cast<float*>(rows) + index);
  std::uint16_t* to = static_cast<std::uint16_t*>(rows) + index;
  for_each_vector(dim, [&](std::int64_t i, int lanes) {
    if (lanes == kLanes) return f32_store_bf16(to + i, f32_load(row + i));
    std::uint16_t rounded[kLanes];
    f32_store_bf16(rounded, load_lanes(row + i, lanes));
    for (int j = 0; j < lanes; ++j) to[i + j] = rounded[j];
  });
}

static void attention_prepare_rows(const AttentionPrepareArgs& args, std::int32_t begin, std::int32_t end) {
  const AttentionShape& shape = *args.shape;
  const std::int64_t dim = shape.head_dim;
  RotaryAngles angles;
  float key[kMaxHeadDim];
  for (std::int64_t r = begin; r < end; ++r) {
    const std::int64_t position = args.first_position + r;
    fill_angles(args, static_cast<int>(position), angles);
    for (int h = 0; h < shape.n_kv_heads; ++h) {
      const std::int64_t from = (r * shape.n_kv_heads + h) * dim, to = (position * shape.n_kv_heads + h) * dim;
      norm_and_rotate(shape, args.k + from, args.k_norm, angles, key);
      store_row(key, shape.head_dim, *args.cache, args.cache->keys, to);
      store_row(args.v + from, shape.head_dim, *args.cache, args.cache->values, to);
    }
    if (args.q == nullptr) continue;
    for (int h = 0; h < shape.n_heads; ++h) {
      const std::int64_t head = r * shape.n_heads + h;
      const float* query = args.q + head * dim * (shape.output_gate ? 2 : 1);
      norm_and_rotate(shape, query, args.q_norm, angles, args.q_out + head * dim);
      if (shape.output_gate) copy_row(query + dim, shape.head_dim, args.gate_out + head * dim);
    }
  }
}

}  // namespace pipo::kernels::cpu::PIPO_TARGET
