#pragma once

#include "kernels/cpu/simd/avx512.h"
#include "kernels/cpu/target.h"

/// How one line of packed weights (kernels/packed_layout.h) meets the inputs, and the tile shapes that fit the 32
/// registers. The same names exist in every *_dot.h.
namespace pipo::kernels::cpu::PIPO_TARGET {

/// Up to this many rows of input are multiplied in one pass over a panel, as bandwidth is what counts.
inline constexpr int kNarrowTokens = 8;
/// For more rows: panels, vectors of a panel and rows of input in one tile of accumulators.
inline constexpr int kWidePanels = 2;
inline constexpr int kWideVectors = 1;
inline constexpr int kWideTokens = 6;
/// Rows that a matrix unit takes at a time; 1: there is none.
#if defined(__AMX_INT8__)
inline constexpr int kRowTile = 16;
#else
inline constexpr int kRowTile = 1;
#endif

static inline __m512i load_line(const std::uint8_t* line) { return _mm512_load_si512(line); }
static inline __m512i broadcast_quad(const std::int8_t* x) {
  std::int32_t quad;
  __builtin_memcpy(&quad, x, 4);
  return _mm512_set1_epi32(quad);
}

/// Of a block of weights, `load` reads line kLine (0...3): inputs 4 kLine... and 16 + 4 kLine..., and `add` multiplies
/// those of half kHalf (0: the first 16 inputs) with the same four inputs of a row.
///
/// vpdpbusd wants one unsigned factor: weights are read with 128 added, which the offset takes away again.
struct Int8Dot {
  using Sum = __m512i;
  using Weights = __m512i;
  static Sum start(const QuantizedBlock& x) { return _mm512_set1_epi32(x.int8_offset); }
  template <int kLine>
  static void load(const std::uint8_t* block, int, Weights* first, Weights* second) {
    const __m512i flip = _mm512_set1_epi8(static_cast<char>(0x80));
    *first = _mm512_xor_si512(load_line(block + 64 * kLine), flip);
    *second = _mm512_xor_si512(load_line(block + 64 * (kLine + 4)), flip);
  }
  template <int kHalf>
  static Sum add(Sum sum, Weights w, const std::int8_t* x) {
    return _mm512_dpbusd_epi32(sum, w, broadcast_quad(x));
  }
  static I32 finish(Sum sum, const QuantizedBlock&) { return sum; }
};

struct Int4Dot {
  using Sum = __m512i;
  using Weights = __m512i;
  static Sum start(const QuantizedBlock& x) { return _mm512_set1_epi32(x.int4_offset); }
  template <int kLine>
  static void load(const std::uint8_t* block, int, Weights* first, Weights* second) {
    const __m512i low = _mm512_set1_epi8(15);
    const __m512i line = load_line(block + 64 * kLine);
    *first = _mm512_and_si512(line, low);
    *second = _mm512_and_si512(_mm512_srli_epi16(line, 4), low);
  }
  template <int kHalf>
  static Sum add(Sum sum, Weights w, const std::int8_t* x) {
    return _mm512_dpbusd_epi32(sum, w, broadcast_quad(x));
  }
  static I32 finish(Sum sum, const QuantizedBlock&) { return sum; }
};

struct Q4Dot : Int4Dot {
  static Sum start(const QuantizedBlock&) { return _mm512_setzero_si512(); }
};

/// The byte's bit kBit becomes bit 4, for whole-number units of 16 bits; bits beside it are to be masked out.
template <int kBit>
static inline __m512i move_to_bit_4(__m512i bits) {
  if constexpr (kBit < 4) return _mm512_slli_epi16(bits, 4 - kBit);
  if constexpr (kBit > 4) return _mm512_srli_epi16(bits, kBit - 4);
  return bits;
}

struct Q5Dot : Q4Dot {
  template <int kLine>
  static void load(const std::uint8_t* block, int vector, Weights* first, Weights* second) {
    constexpr int kLeftAndMaskOrRight = 0xea;
    const __m512i sixteen = _mm512_set1_epi8(16);
    const __m512i fifth = load_line(block + 64 * 4);
    Q4Dot::load<kLine>(block, vector, first, second);
    *first = _mm512_ternarylogic_epi32(move_to_bit_4<2 * kLine>(fifth), sixteen, *first, kLeftAndMaskOrRight);
    *second = _mm512_ternarylogic_epi32(move_to_bit_4<2 * kLine + 1>(fifth), sixteen, *second, kLeftAndMaskOrRight);
  }
};

struct F32Dot {
  using Input = float;
  static constexpr int kInputs = 1;
  using Weights = F32;
  static const Input* input(const MatmulInput& in) { return in.f32; }
  static Weights load(const std::uint8_t* line, int) { return _mm512_load_ps(line); }
  static F32 add(F32 sum, Weights w, const Input* x) { return f32_fma(w, f32_set1(x[0]), sum); }
};

#if defined(__AVX512BF16__)
inline constexpr bool kBf16Input = true;

struct Bf16Dot {
  using Input = std::uint16_t;
  static constexpr int kInputs = 2;
  using Weights = __m512i;
  static const Input* input(const MatmulInput& in) { return in.bf16; }
  static Weights load(const std::uint8_t* line, int) { return load_line(line); }
  static F32 add(F32 sum, Weights w, const Input* x) {
    std::int32_t pair;
    __builtin_memcpy(&pair, x, 4);
    return _mm512_dpbf16_ps(sum, (__m512bh)w, (__m512bh)_mm512_set1_epi32(pair));
  }
};
#else
inline constexpr bool kBf16Input = false;

struct Bf16Dot {
  using Input = float;
  static constexpr int kInputs = 2;
  struct Weights {
    F32 even, odd;
  };
  static const Input* input(const MatmulInput& in) { return in.f32; }
  static Weights load(const std::uint8_t* line, int) {
    const __m512i pairs = load_line(line);
    return {f32_from_bits(_mm512_slli_epi32(pairs, 16)),
            f32_from_bits(_mm512_and_si512(pairs, _mm512_set1_epi32(static_cast<std::int32_t>(0xffff0000u))))};
  }
  static F32 add(F32 sum, Weights w, const Input* x) {
    return f32_fma(w.odd, f32_set1(x[1]), f32_fma(w.even, f32_set1(x[0]), sum));
  }
};
#endif

}  // namespace pipo::kernels::cpu::PIPO_TARGET
