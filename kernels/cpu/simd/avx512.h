#pragma once

#include <immintrin.h>

#include <cstdint>

/// One vector of the target and the handful of operations that the ops are written in. The same names exist in every
/// header of this folder; `kLanes` floats per vector.
namespace pipo::kernels::cpu::PIPO_TARGET {

inline constexpr int kLanes = 16;
using F32 = __m512;
using I32 = __m512i;

static inline F32 f32_zero() { return _mm512_setzero_ps(); }
static inline F32 f32_set1(float x) { return _mm512_set1_ps(x); }
static inline F32 f32_load(const float* p) { return _mm512_loadu_ps(p); }
static inline void f32_store(float* p, F32 x) { _mm512_storeu_ps(p, x); }
static inline __mmask16 first_lanes(int count) { return static_cast<__mmask16>((1u << count) - 1u); }
/// The first `count` (0...kLanes) lanes; the others read as zero or are not written.
static inline F32 f32_load_first(const float* p, int count) { return _mm512_maskz_loadu_ps(first_lanes(count), p); }
static inline void f32_store_first(float* p, F32 x, int count) { _mm512_mask_storeu_ps(p, first_lanes(count), x); }

static inline F32 f32_add(F32 a, F32 b) { return _mm512_add_ps(a, b); }
static inline F32 f32_sub(F32 a, F32 b) { return _mm512_sub_ps(a, b); }
static inline F32 f32_mul(F32 a, F32 b) { return _mm512_mul_ps(a, b); }
static inline F32 f32_div(F32 a, F32 b) { return _mm512_div_ps(a, b); }
static inline F32 f32_fma(F32 a, F32 b, F32 c) { return _mm512_fmadd_ps(a, b, c); }
static inline F32 f32_min(F32 a, F32 b) { return _mm512_min_ps(a, b); }
static inline F32 f32_max(F32 a, F32 b) { return _mm512_max_ps(a, b); }
/// `value`, but zero in the lanes where a < b. Lanes with a NaN keep their value.
static inline F32 f32_zero_where_less(F32 value, F32 a, F32 b) {
  return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(a, b, _CMP_NLT_UQ), value);
}
static inline F32 f32_abs(F32 a) { return _mm512_abs_ps(a); }
static inline float f32_sum(F32 a) { return _mm512_reduce_add_ps(a); }
static inline float f32_largest(F32 a) { return _mm512_reduce_max_ps(a); }

static inline I32 i32_set1(std::int32_t x) { return _mm512_set1_epi32(x); }
static inline I32 i32_add(I32 a, I32 b) { return _mm512_add_epi32(a, b); }
static inline I32 i32_max(I32 a, I32 b) { return _mm512_max_epi32(a, b); }
template <int kBits>
static inline I32 i32_shift_left(I32 a) {
  return _mm512_slli_epi32(a, kBits);
}
/// Rounds to nearest even.
static inline I32 i32_round(F32 a) { return _mm512_cvtps_epi32(a); }
static inline F32 f32_from_i32(I32 a) { return _mm512_cvtepi32_ps(a); }
static inline F32 f32_from_bits(I32 a) { return _mm512_castsi512_ps(a); }
static inline I32 i32_from_bits(F32 a) { return _mm512_castps_si512(a); }

static inline F32 f32_load_f16(const std::uint16_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
static inline F32 f32_load_bf16(const std::uint16_t* p) {
  const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}
/// Rounds to nearest even; NaN stays NaN.
static inline void f32_store_bf16(std::uint16_t* p, F32 x) {
  const __m512i bits = _mm512_castps_si512(x);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  __m512i rounded = _mm512_srli_epi32(_mm512_add_epi32(_mm512_add_epi32(bits, odd), _mm512_set1_epi32(0x7fff)), 16);
  rounded = _mm512_mask_mov_epi32(rounded, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), _mm512_set1_epi32(0x7fc0));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(rounded));
}

/// Stores lanes, which lie in [-128, 127], as bytes.
static inline void i32_store_i8(std::int8_t* p, I32 a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(a));
}
static inline std::int32_t i32_sum(I32 a) { return _mm512_reduce_add_epi32(a); }
static inline std::int32_t i32_largest(I32 a) { return _mm512_reduce_max_epi32(a); }

static inline void prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0); }

}  // namespace pipo::kernels::cpu::PIPO_TARGET
