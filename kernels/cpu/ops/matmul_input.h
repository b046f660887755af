#pragma once

#include "kernels/cpu/target.h"
#include "kernels/cpu/unroll.h"
#include "kernels/packed_layout.h"

/// Writes the input of a matmul in the forms that its kernels read.
namespace pipo::kernels::cpu::PIPO_TARGET {

/// A block with an input that is infinite or NaN: its products are NaN, so that the damage shows.
static inline void damaged_block(QuantizedBlock* out) {
  *out = QuantizedBlock{};
  out->scale = out->scaled_sum = __builtin_nanf("");
}

/// x [count], count <= 32; the rest of the block is zero.
static inline void quantize_block(const float* x, int count, QuantizedBlock* out) {
  constexpr int kVectors = layout::kBlock / kLanes;
  F32 values[kVectors];
  I32 largest = i32_set1(0);
  PIPO_UNROLL(8)
  for (int v = 0; v < kVectors; ++v) {
    const int left = count - v * kLanes;
    if (left >= kLanes) {
      values[v] = f32_load(x + v * kLanes);
    } else {
      values[v] = left > 0 ? f32_load_first(x + v * kLanes, left) : f32_zero();
    }
    largest = i32_max(largest, i32_from_bits(f32_abs(values[v])));
  }
  // Magnitudes are in the order of their bits; what is not finite comes out above everything.
  constexpr std::int32_t kInfinity = 0x7f800000;
  const std::int32_t bits = i32_largest(largest);
  if (bits >= kInfinity) return damaged_block(out);
  float range;
  __builtin_memcpy(&range, &bits, sizeof(range));
  // Below this the reciprocal would overflow.
  const bool vanishes = range < 1e-35f;
  const F32 inverse = f32_set1(vanishes ? 0.0f : 127.0f / range);
  I32 sum = i32_set1(0);
  PIPO_UNROLL(8)
  for (int v = 0; v < kVectors; ++v) {
    const I32 q = i32_round(f32_mul(values[v], inverse));
    sum = i32_add(sum, q);
    i32_store_i8(out->q + v * kLanes, q);
  }
  const std::int32_t total = i32_sum(sum);
  out->scale = vanishes ? 0.0f : range / 127.0f;
  out->int8_offset = -128 * total;
  out->int4_offset = -8 * total;
  out->scaled_sum = out->scale * static_cast<float>(total);
}

/// Where block 0 of a row is; its others follow, row_tile apart.
static inline QuantizedBlock* first_block(const MatmulInput& input, std::int64_t row) {
  const std::int64_t tile = input.row_tile;
  return input.blocks + row / tile * tile * (input.k_padded / layout::kBlock) + row % tile;
}

/// Blocks of the row go to out[0], out[step], ...
static inline void quantize_row(const float* x, std::int32_t k, std::int32_t k_padded, std::int32_t step,
                                QuantizedBlock* out) {
  for (std::int32_t i = 0; i < k_padded; i += layout::kBlock, out += step) {
    const std::int32_t left = k - i;
    if (left >= layout::kBlock) {
      quantize_block(x + i, layout::kBlock, out);
    } else {
      quantize_block(x + i, left > 0 ? left : 0, out);
    }
  }
}

static inline F32 load_or_zero(const float* x, std::int32_t left) {
  if (left >= kLanes) return f32_load(x);
  return left > 0 ? f32_load_first(x, left) : f32_zero();
}

static void prepare_rows(const float* x, std::int64_t x_stride, std::int32_t k, const MatmulInput& out,
                         std::int32_t begin, std::int32_t end) {
  const std::int32_t k_padded = out.k_padded;
  for (std::int32_t row = begin; row < end; ++row) {
    const float* from = x + row * x_stride;
    const std::int64_t at = static_cast<std::int64_t>(row) * k_padded;
    if (out.blocks != nullptr) {
      quantize_row(from, k, k_padded, out.row_tile, first_block(out, row));
    }
    if (out.f32 != nullptr) {
      for (std::int32_t i = 0; i < k_padded; i += kLanes) f32_store(out.f32 + at + i, load_or_zero(from + i, k - i));
    }
    if (out.bf16 != nullptr) {
      for (std::int32_t i = 0; i < k_padded; i += kLanes)
        f32_store_bf16(out.bf16 + at + i, load_or_zero(from + i, k - i));
    }
  }
}

}  // namespace pipo::kernels::cpu::PIPO_TARGET
