#pragma once

#include "kernels/cpu/simd/neon.h"
#include "kernels/cpu/target.h"

/// See avx512_dot.h for the meaning of each name. A line of weights is four vectors of 4 rows.
namespace pipo::kernels::cpu::PIPO_TARGET {

inline constexpr int kNarrowTokens = 3;
inline constexpr int kWidePanels = 1;
inline constexpr int kWideVectors = 4;
inline constexpr int kWideTokens = 3;
inline constexpr bool kBf16Input = false;
inline constexpr int kRowTile = 1;

static inline int8x16_t broadcast_quad(const std::int8_t* x) {
  std::int32_t quad;
  __builtin_memcpy(&quad, x, 4);
  return vreinterpretq_s8_s32(vdupq_n_s32(quad));
}

struct Int8Dot {
  using Sum = int32x4_t;
  using Weights = int8x16_t;
  static Sum start(const QuantizedBlock&) { return vdupq_n_s32(0); }
  template <int kLine>
  static void load(const std::uint8_t* block, int vector, Weights* first, Weights* second) {
    *first = vreinterpretq_s8_u8(vld1q_u8(block + 64 * kLine + 16 * vector));
    *second = vreinterpretq_s8_u8(vld1q_u8(block + 64 * (kLine + 4) + 16 * vector));
  }
  template <int kHalf>
  static Sum add(Sum sum, Weights w, const std::int8_t* x) {
    return vdotq_s32(sum, w, broadcast_quad(x));
  }
  static I32 finish(Sum sum, const QuantizedBlock&) { return sum; }
};

struct Int4Dot {
  using Sum = int32x4_t;
  using Weights = int8x16_t;
  static Sum start(const QuantizedBlock& x) { return vdupq_n_s32(x.int4_offset); }
  template <int kLine>
  static void load(const std::uint8_t* block, int vector, Weights* first, Weights* second) {
    const uint8x16_t line = vld1q_u8(block + 64 * kLine + 16 * vector);
    *first = vreinterpretq_s8_u8(vandq_u8(line, vdupq_n_u8(15)));
    *second = vreinterpretq_s8_u8(vshrq_n_u8(line, 4));
  }
  template <int kHalf>
  static Sum add(Sum sum, Weights w, const std::int8_t* x) {
    return vdotq_s32(sum, w, broadcast_quad(x));
  }
  static I32 finish(Sum sum, const QuantizedBlock&) { return sum; }
};

struct Q4Dot : Int4Dot {
  static Sum start(const QuantizedBlock&) { return vdupq_n_s32(0); }
};

struct Q5Dot : Q4Dot {
  /// The byte's bit kBit as bit 4; the others are masked out.
  template <int kBit>
  static int8x16_t bit_4(uint8x16_t bits) {
    if constexpr (kBit < 4) bits = vshlq_n_u8(bits, 4 - kBit);
    if constexpr (kBit > 4) bits = vshrq_n_u8(bits, kBit - 4);
    return vreinterpretq_s8_u8(vandq_u8(bits, vdupq_n_u8(16)));
  }
  template <int kLine>
  static void load(const std::uint8_t* block, int vector, Weights* first, Weights* second) {
    const uint8x16_t fifth = vld1q_u8(block + 64 * 4 + 16 * vector);
    Q4Dot::load<kLine>(block, vector, first, second);
    *first = vorrq_s8(*first, bit_4<2 * kLine>(fifth));
    *second = vorrq_s8(*second, bit_4<2 * kLine + 1>(fifth));
  }
};

struct F32Dot {
  using Input = float;
  static constexpr int kInputs = 1;
  using Weights = F32;
  static const Input* input(const MatmulInput& in) { return in.f32; }
  static Weights load(const std::uint8_t* line, int vector) {
    return vreinterpretq_f32_u8(vld1q_u8(line + 16 * vector));
  }
  static F32 add(F32 sum, Weights w, const Input* x) { return vfmaq_n_f32(sum, w, x[0]); }
};

struct Bf16Dot {
  using Input = float;
  static constexpr int kInputs = 2;
  struct Weights {
    F32 even, odd;
  };
  static const Input* input(const MatmulInput& in) { return in.f32; }
  static Weights load(const std::uint8_t* line, int vector) {
    const uint32x4_t pairs = vreinterpretq_u32_u8(vld1q_u8(line + 16 * vector));
    return {vreinterpretq_f32_u32(vshlq_n_u32(pairs, 16)),
            vreinterpretq_f32_u32(vandq_u32(pairs, vdupq_n_u32(0xffff0000u)))};
  }
  static F32 add(F32 sum, Weights w, const Input* x) {
    return vfmaq_n_f32(vfmaq_n_f32(sum, w.even, x[0]), w.odd, x[1]);
  }
};

}  // namespace pipo::kernels::cpu::PIPO_TARGET
