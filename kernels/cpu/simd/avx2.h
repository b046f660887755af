#pragma once

#include <immintrin.h>

#include <cstdint>

/// See avx512.h for the meaning of each name.
namespace pipo::kernels::cpu::PIPO_TARGET {

inline constexpr int kLanes = 8;
using F32 = __m256;
using I32 = __m256i;

static inline F32 f32_zero() { return _mm256_setzero_ps(); }
static inline F32 f32_set1(float x) { return _mm256_set1_ps(x); }
static inline F32 f32_load(const float* p) { return _mm256_loadu_ps(p); }
static inline void f32_store(float* p, F32 x) { _mm256_storeu_ps(p, x); }
static inline __m256i first_lanes(int count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
static inline F32 f32_load_first(const float* p, int count) { return _mm256_maskload_ps(p, first_lanes(count)); }
static inline void f32_store_first(float* p, F32 x, int count) { _mm256_maskstore_ps(p, first_lanes(count), x); }

static inline F32 f32_add(F32 a, F32 b) { return _mm256_add_ps(a, b); }
static inline F32 f32_sub(F32 a, F32 b) { return _mm256_sub_ps(a, b); }
static inline F32 f32_mul(F32 a, F32 b) { return _mm256_mul_ps(a, b); }
static inline F32 f32_div(F32 a, F32 b) { return _mm256_div_ps(a, b); }
static inline F32 f32_fma(F32 a, F32 b, F32 c) { return _mm256_fmadd_ps(a, b, c); }
static inline F32 f32_min(F32 a, F32 b) { return _mm256_min_ps(a, b); }
static inline F32 f32_max(F32 a, F32 b) { return _mm256_max_ps(a, b); }
static inline F32 f32_zero_where_less(F32 value, F32 a, F32 b) {
  return _mm256_and_ps(value, _mm256_cmp_ps(a, b, _CMP_NLT_UQ));
}
static inline F32 f32_abs(F32 a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
static inline float f32_sum(F32 a) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
static inline float f32_largest(F32 a) {
  __m128 s = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  s = _mm_max_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

static inline I32 i32_set1(std::int32_t x) { return _mm256_set1_epi32(x); }
static inline I32 i32_add(I32 a, I32 b) { return _mm256_add_epi32(a, b); }
static inline I32 i32_max(I32 a, I32 b) { return _mm256_max_epi32(a, b); }
template <int kBits>
static inline I32 i32_shift_left(I32 a) {
  return _mm256_slli_epi32(a, kBits);
}
static inline I32 i32_round(F32 a) { return _mm256_cvtps_epi32(a); }
static inline F32 f32_from_i32(I32 a) { return _mm256_cvtepi32_ps(a); }
static inline F32 f32_from_bits(I32 a) { return _mm256_castsi256_ps(a); }
static inline I32 i32_from_bits(F32 a) { return _mm256_castps_si256(a); }

static inline F32 f32_load_f16(const std::uint16_t* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
static inline F32 f32_load_bf16(const std::uint16_t* p) {
  const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}
static inline void f32_store_bf16(std::uint16_t* p, F32 x) {
  const __m256i bits = _mm256_castps_si256(x);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  __m256i rounded = _mm256_srli_epi32(_mm256_add_epi32(_mm256_add_epi32(bits, odd), _mm256_set1_epi32(0x7fff)), 16);
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
  rounded = _mm256_blendv_epi8(rounded, _mm256_set1_epi32(0x7fc0), nan);
  const __m128i packed = _mm_packus_epi32(_mm256_castsi256_si128(rounded), _mm256_extracti128_si256(rounded, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), packed);
}

static inline void i32_store_i8(std::int8_t* p, I32 a) {
  const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(words, words));
}
static inline std::int32_t i32_sum(I32 a) {
  __m128i s = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
  s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}

static inline std::int32_t i32_largest(I32 a) {
  __m128i m = _mm_max_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
  m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
  return _mm_cvtsi128_si32(_mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1)));
}

static inline void prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0); }

}  // namespace pipo::kernels::cpu::PIPO_TARGET
