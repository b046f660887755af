#pragma once

#include <arm_neon.h>

#include <cstdint>

/// See avx512.h for the meaning of each name.
namespace pipo::kernels::cpu::PIPO_TARGET {

inline constexpr int kLanes = 4;
using F32 = float32x4_t;
using I32 = int32x4_t;

static inline F32 f32_zero() { return vdupq_n_f32(0.0f); }
static inline F32 f32_set1(float x) { return vdupq_n_f32(x); }
static inline F32 f32_load(const float* p) { return vld1q_f32(p); }
static inline void f32_store(float* p, F32 x) { vst1q_f32(p, x); }
static inline F32 f32_load_first(const float* p, int count) {
  if (count >= kLanes) return f32_load(p);
  float lanes[kLanes] = {};
  for (int i = 0; i < count; ++i) lanes[i] = p[i];
  return f32_load(lanes);
}
static inline void f32_store_first(float* p, F32 x, int count) {
  if (count >= kLanes) return f32_store(p, x);
  float lanes[kLanes];
  f32_store(lanes, x);
  for (int i = 0; i < count; ++i) p[i] = lanes[i];
}

static inline F32 f32_add(F32 a, F32 b) { return vaddq_f32(a, b); }
static inline F32 f32_sub(F32 a, F32 b) { return vsubq_f32(a, b); }
static inline F32 f32_mul(F32 a, F32 b) { return vmulq_f32(a, b); }
static inline F32 f32_div(F32 a, F32 b) { return vdivq_f32(a, b); }
static inline F32 f32_fma(F32 a, F32 b, F32 c) { return vfmaq_f32(c, a, b); }
static inline F32 f32_min(F32 a, F32 b) { return vminq_f32(a, b); }
static inline F32 f32_max(F32 a, F32 b) { return vmaxq_f32(a, b); }
static inline F32 f32_zero_where_less(F32 value, F32 a, F32 b) {
  return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(value), vcltq_f32(a, b)));
}
static inline F32 f32_abs(F32 a) { return vabsq_f32(a); }
static inline float f32_sum(F32 a) { return vaddvq_f32(a); }
static inline float f32_largest(F32 a) { return vmaxvq_f32(a); }

static inline I32 i32_set1(std::int32_t x) { return vdupq_n_s32(x); }
static inline I32 i32_add(I32 a, I32 b) { return vaddq_s32(a, b); }
static inline I32 i32_max(I32 a, I32 b) { return vmaxq_s32(a, b); }
template <int kBits>
static inline I32 i32_shift_left(I32 a) {
  return vshlq_n_s32(a, kBits);
}
static inline I32 i32_round(F32 a) { return vcvtnq_s32_f32(a); }
static inline F32 f32_from_i32(I32 a) { return vcvtq_f32_s32(a); }
static inline F32 f32_from_bits(I32 a) { return vreinterpretq_f32_s32(a); }
static inline I32 i32_from_bits(F32 a) { return vreinterpretq_s32_f32(a); }

static inline F32 f32_load_f16(const std::uint16_t* p) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))); }
static inline F32 f32_load_bf16(const std::uint16_t* p) { return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16)); }
static inline void f32_store_bf16(std::uint16_t* p, F32 x) {
  const uint32x4_t bits = vreinterpretq_u32_f32(x);
  const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
  const uint32x4_t rounded = vshrq_n_u32(vaddq_u32(vaddq_u32(bits, odd), vdupq_n_u32(0x7fff)), 16);
  vst1_u16(p, vmovn_u32(vbslq_u32(vceqq_f32(x, x), rounded, vdupq_n_u32(0x7fc0))));
}

static inline void i32_store_i8(std::int8_t* p, I32 a) {
  const int8x8_t bytes = vqmovn_s16(vcombine_s16(vqmovn_s32(a), vdup_n_s16(0)));
  vst1_lane_s32(reinterpret_cast<std::int32_t*>(p), vreinterpret_s32_s8(bytes), 0);
}
static inline std::int32_t i32_sum(I32 a) { return vaddvq_s32(a); }
static inline std::int32_t i32_largest(I32 a) { return vmaxvq_s32(a); }

static inline void prefetch(const void* p) { __builtin_prefetch(p); }

}  // namespace pipo::kernels::cpu::PIPO_TARGET
