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

static inline __m512i load_line(const std::uint8_t* line) { return _mm512_load_si512(line); }
static inline __m512i broadcast_quad(const std::int8_t* x) {
  std::int32_t quad;
  __builtin_memcpy(&quad, x, 4);
  return _mm512_set1_epi32(quad);
}

/// vpdpbusd wants one unsigned factor: weights are read with 128 added, which the offset takes away again.
struct Int8Dot {
  using Sum = __m512i;
  using Weights = __m512i;
  static Sum start(const QuantizedBlock& x) { return _mm512_set1_epi32(x.int8_offset); }
  static void load(const std::uint8_t* block, int j, int, Weights* first, Weights* second) {
    const __m512i flip = _mm512_set1_epi8(static_cast<char>(0x80));
    *first = _mm512_xor_si512(load_line(block + 64 * j), flip);
    *second = _mm512_xor_si512(load_line(block + 64 * (j + 4)), flip);
  }
  static Sum add(Sum sum, Weights w, const std::int8_t* x) { return _mm512_dpbusd_epi32(sum, w, broadcast_quad(x)); }
  static I32 finish(Sum sum, const QuantizedBlock&) { return sum; }
};

struct Int4Dot {
  using Sum = __m512i;
  using Weights = __m512i;
  static Sum start(const QuantizedBlock& x) { return _mm512_set1_epi32(x.int4_offset); }
  static void load(const std::uint8_t* block, int j, int, Weights* first, Weights* second) {
    const __m512i low = _mm512_set1_epi8(15);
    const __m512i line = load_line(block + 64 * j);
    *first = _mm512_and_si512(line, low);
    *second = _mm512_and_si512(_mm512_srli_epi16(line, 4), low);
  }
  static Sum add(Sum sum, Weights w, const std::int8_t* x) { return _mm512_dpbusd_epi32(sum, w, broadcast_quad(x)); }
  static I32 finish(Sum sum, const QuantizedBlock&) { return sum; }
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
