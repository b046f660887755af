#pragma once

#include "kernels/cpu/simd/avx2.h"
#include "kernels/cpu/target.h"

/// See avx512_dot.h for the meaning of each name. A line of weights is two vectors of 8 rows.
namespace pipo::kernels::cpu::PIPO_TARGET {

inline constexpr bool kBf16Input = false;
inline constexpr int kRowTile = 1;
inline constexpr int kWidePanels = 1;
#if defined(__AVXVNNI__)
inline constexpr int kNarrowTokens = 3;
inline constexpr int kWideVectors = 2;
inline constexpr int kWideTokens = 3;
#else
inline constexpr int kNarrowTokens = 2;
inline constexpr int kWideVectors = 1;
inline constexpr int kWideTokens = 4;
#endif

static inline __m256i load_half(const std::uint8_t* line, int vector) {
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(line + 32 * vector));
}
static inline __m256i broadcast_quad(const std::int8_t* x) {
  std::int32_t quad;
  __builtin_memcpy(&quad, x, 4);
  return _mm256_set1_epi32(quad);
}

static inline void load_nibbles(const std::uint8_t* line, int vector, __m256i* low, __m256i* high) {
  const __m256i mask = _mm256_set1_epi8(15);
  const __m256i both = load_half(line, vector);
  *low = _mm256_and_si256(both, mask);
  *high = _mm256_and_si256(_mm256_srli_epi16(both, 4), mask);
}

/// As in avx512_dot.h.
template <int kBit>
static inline __m256i move_to_bit_4(__m256i bits) {
  if constexpr (kBit < 4) return _mm256_slli_epi16(bits, 4 - kBit);
  if constexpr (kBit > 4) return _mm256_srli_epi16(bits, kBit - 4);
  return bits;
}

template <int kLine>
static inline void load_five_bits(const std::uint8_t* block, int vector, __m256i* first, __m256i* second) {
  const __m256i sixteen = _mm256_set1_epi8(16);
  const __m256i fifth = load_half(block + 64 * 4, vector);
  load_nibbles(block + 64 * kLine, vector, first, second);
  *first = _mm256_or_si256(*first, _mm256_and_si256(move_to_bit_4<2 * kLine>(fifth), sixteen));
  *second = _mm256_or_si256(*second, _mm256_and_si256(move_to_bit_4<2 * kLine + 1>(fifth), sixteen));
}

#if defined(__AVXVNNI__)
/// As in avx512_dot.h.
struct Int8Dot {
  using Sum = __m256i;
  using Weights = __m256i;
  static Sum start(const QuantizedBlock& x) { return _mm256_set1_epi32(x.int8_offset); }
  template <int kLine>
  static void load(const std::uint8_t* block, int vector, Weights* first, Weights* second) {
    const __m256i flip = _mm256_set1_epi8(static_cast<char>(0x80));
    *first = _mm256_xor_si256(load_half(block + 64 * kLine, vector), flip);
    *second = _mm256_xor_si256(load_half(block + 64 * (kLine + 4), vector), flip);
  }
  template <int kHalf>
  static Sum add(Sum sum, Weights w, const std::int8_t* x) {
    return _mm256_dpbusd_avx_epi32(sum, w, broadcast_quad(x));
  }
  static I32 finish(Sum sum, const QuantizedBlock&) { return sum; }
};

struct Int4Dot {
  using Sum = __m256i;
  using Weights = __m256i;
  static Sum start(const QuantizedBlock& x) { return _mm256_set1_epi32(x.int4_offset); }
  template <int kLine>
  static void load(const std::uint8_t* block, int vector, Weights* first, Weights* second) {
    load_nibbles(block + 64 * kLine, vector, first, second);
  }
  template <int kHalf>
  static Sum add(Sum sum, Weights w, const std::int8_t* x) {
    return _mm256_dpbusd_avx_epi32(sum, w, broadcast_quad(x));
  }
  static I32 finish(Sum sum, const QuantizedBlock&) { return sum; }
};

struct Q4Dot : Int4Dot {
  static Sum start(const QuantizedBlock&) { return _mm256_setzero_si256(); }
};

struct Q5Dot : Q4Dot {
  template <int kLine>
  static void load(const std::uint8_t* block, int vector, Weights* first, Weights* second) {
    load_five_bits<kLine>(block, vector, first, second);
  }
};
#else
/// vpmaddubsw wants one unsigned factor: the weight gives its sign to the input. 2 * 127 * 127 fits 16 bits.
struct Int8Dot {
  using Sum = __m256i;
  struct Weights {
    __m256i value, magnitude;
  };
  static Sum start(const QuantizedBlock&) { return _mm256_setzero_si256(); }
  static Weights load_one(const std::uint8_t* line, int vector) {
    const __m256i value = load_half(line, vector);
    return {value, _mm256_abs_epi8(value)};
  }
  template <int kLine>
  static void load(const std::uint8_t* block, int vector, Weights* first, Weights* second) {
    *first = load_one(block + 64 * kLine, vector);
    *second = load_one(block + 64 * (kLine + 4), vector);
  }
  template <int kHalf>
  static Sum add(Sum sum, Weights w, const std::int8_t* x) {
    const __m256i pairs = _mm256_maddubs_epi16(w.magnitude, _mm256_sign_epi8(broadcast_quad(x), w.value));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
  static I32 finish(Sum sum, const QuantizedBlock&) { return sum; }
};

/// 8 pairs of products of at most 2 * 15 * 127 each fit 16 bits, so a block is summed there.
struct Int4Dot {
  using Sum = __m256i;
  using Weights = __m256i;
  static Sum start(const QuantizedBlock&) { return _mm256_setzero_si256(); }
  template <int kLine>
  static void load(const std::uint8_t* block, int vector, Weights* first, Weights* second) {
    load_nibbles(block + 64 * kLine, vector, first, second);
  }
  template <int kHalf>
  static Sum add(Sum sum, Weights w, const std::int8_t* x) {
    return _mm256_add_epi16(sum, _mm256_maddubs_epi16(w, broadcast_quad(x)));
  }
  static I32 finish(Sum sum, const QuantizedBlock& x) {
    return _mm256_add_epi32(_mm256_madd_epi16(sum, _mm256_set1_epi16(1)), _mm256_set1_epi32(x.int4_offset));
  }
};

struct Q4Dot : Int4Dot {
  static I32 finish(Sum sum, const QuantizedBlock&) { return _mm256_madd_epi16(sum, _mm256_set1_epi16(1)); }
};

/// 4 pairs of products of at most 2 * 31 * 127 each fit 16 bits, so half a block is summed there.
struct Q5Dot {
  struct Sum {
    __m256i first, second;
  };
  using Weights = __m256i;
  static Sum start(const QuantizedBlock&) { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
  template <int kLine>
  static void load(const std::uint8_t* block, int vector, Weights* first, Weights* second) {
    load_five_bits<kLine>(block, vector, first, second);
  }
  template <int kHalf>
  static Sum add(Sum sum, Weights w, const std::int8_t* x) {
    __m256i& half = kHalf == 0 ? sum.first : sum.second;
    half = _mm256_add_epi16(half, _mm256_maddubs_epi16(w, broadcast_quad(x)));
    return sum;
  }
  static I32 finish(Sum sum, const QuantizedBlock&) {
    const __m256i ones = _mm256_set1_epi16(1);
    return _mm256_add_epi32(_mm256_madd_epi16(sum.first, ones), _mm256_madd_epi16(sum.second, ones));
  }
};
#endif

struct F32Dot {
  using Input = float;
  static constexpr int kInputs = 1;
  using Weights = F32;
  static const Input* input(const MatmulInput& in) { return in.f32; }
  static Weights load(const std::uint8_t* line, int vector) { return _mm256_castsi256_ps(load_half(line, vector)); }
  static F32 add(F32 sum, Weights w, const Input* x) { return f32_fma(w, f32_set1(x[0]), sum); }
};

struct Bf16Dot {
  using Input = float;
  static constexpr int kInputs = 2;
  struct Weights {
    F32 even, odd;
  };
  static const Input* input(const MatmulInput& in) { return in.f32; }
  static Weights load(const std::uint8_t* line, int vector) {
    const __m256i pairs = load_half(line, vector);
    return {f32_from_bits(_mm256_slli_epi32(pairs, 16)),
            f32_from_bits(_mm256_and_si256(pairs, _mm256_set1_epi32(static_cast<std::int32_t>(0xffff0000u))))};
  }
  static F32 add(F32 sum, Weights w, const Input* x) {
    return f32_fma(w.odd, f32_set1(x[1]), f32_fma(w.even, f32_set1(x[0]), sum));
  }
};

}  // namespace pipo::kernels::cpu::PIPO_TARGET
