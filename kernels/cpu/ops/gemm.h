#pragma once

#include <cstdint>

#include "kernels/cpu/ops/vector_math.h"
#include "kernels/cpu/unroll.h"

/// A small fp32 matrix product out of one worker's cache, for what attention and the delta rule do with activations:
/// the left side is read element by element (so it may be a transposed view), the right side vector by vector.
namespace pipo::kernels::cpu::PIPO_TARGET {

/// A [m, k] with any strides, in floats.
struct LeftMatrix {
  const float* data;
  std::int64_t row_stride;
  std::int64_t column_stride;
};

/// B [k, n], rows contiguous; elements are float or bf16 (std::uint16_t).
template <class Element>
struct RightMatrix {
  const Element* data;
  std::int64_t row_stride;
};

static inline F32 load_elements(const float* p, int lanes) { return load_lanes(p, lanes); }
static inline F32 load_elements(const std::uint16_t* p, int lanes) {
  if (lanes == kLanes) return f32_load_bf16(p);
  std::uint16_t padded[kLanes] = {};
  for (int i = 0; i < lanes; ++i) padded[i] = p[i];
  return f32_load_bf16(padded);
}

inline constexpr int kTileRows = 6;
#if defined(__AVX2__) && !defined(__AVX512F__)
inline constexpr int kTileVectors = 2;  // 16 registers
#else
inline constexpr int kTileVectors = 4;  // 32 registers
#endif

/// Right sides in bf16 come straight from a cache in memory, often with other heads between their rows.
inline constexpr int kRowsAhead = 32;

/// kRows x kVectors vectors of the product; with kVectors = 1 only the first `lanes` columns.
template <int kRows, int kVectors, class Element>
static inline void gemm_tile(const LeftMatrix& a, const RightMatrix<Element>& b, int k, int lanes, float keep,
                             float* out, std::int64_t out_stride) {
  F32 sums[kRows][kVectors];
  PIPO_UNROLL(8)
  for (int r = 0; r < kRows; ++r) {
    PIPO_UNROLL(8)
    for (int v = 0; v < kVectors; ++v) sums[r][v] = f32_zero();
  }
  for (int i = 0; i < k; ++i) {
    const Element* row = b.data + i * b.row_stride;
    F32 right[kVectors];
    PIPO_UNROLL(8)
    for (int v = 0; v < kVectors; ++v) {
      right[v] = load_elements(row + v * kLanes, kVectors > 1 ? kLanes : lanes);
      if (sizeof(Element) == 2) prefetch(row + v * kLanes + kRowsAhead * b.row_stride);
    }
    const float* left = a.data + i * a.column_stride;
    PIPO_UNROLL(8)
    for (int r = 0; r < kRows; ++r) {
      const F32 factor = f32_set1(left[r * a.row_stride]);
      PIPO_UNROLL(8)
      for (int v = 0; v < kVectors; ++v) sums[r][v] = f32_fma(factor, right[v], sums[r][v]);
    }
  }
  const F32 kept = f32_set1(keep);
  PIPO_UNROLL(8)
  for (int r = 0; r < kRows; ++r) {
    PIPO_UNROLL(8)
    for (int v = 0; v < kVectors; ++v) {
      float* to = out + r * out_stride + v * kLanes;
      const int count = kVectors > 1 ? kLanes : lanes;
      const F32 sum = keep == 0.0f ? sums[r][v] : f32_fma(kept, load_lanes(to, count), sums[r][v]);
      store_lanes(to, sum, count);
    }
  }
}

template <int kVectors, class Element>
static void gemm_columns(LeftMatrix a, const RightMatrix<Element>& b, int m, int k, int lanes, float keep, float* out,
                         std::int64_t out_stride) {
  for (; m >= kTileRows; m -= kTileRows) {
    gemm_tile<kTileRows, kVectors>(a, b, k, lanes, keep, out, out_stride);
    a.data += kTileRows * a.row_stride;
    out += kTileRows * out_stride;
  }
  static_assert(kTileRows == 6);
  switch (m) {
    case 5:
      return gemm_tile<5, kVectors>(a, b, k, lanes, keep, out, out_stride);
    case 4:
      return gemm_tile<4, kVectors>(a, b, k, lanes, keep, out, out_stride);
    case 3:
      return gemm_tile<3, kVectors>(a, b, k, lanes, keep, out, out_stride);
    case 2:
      return gemm_tile<2, kVectors>(a, b, k, lanes, keep, out, out_stride);
    case 1:
      return gemm_tile<1, kVectors>(a, b, k, lanes, keep, out, out_stride);
    default:
      return;
  }
}

/// out [m, n] = keep * out + A [m, k] B [k, n]; with keep = 0, `out` need not be initialised.
template <class Element>
static void gemm(const LeftMatrix& a, const RightMatrix<Element>& b, int m, int n, int k, float keep, float* out,
                 std::int64_t out_stride) {
  int column = 0;
  const auto right = [&] { return RightMatrix<Element>{b.data + column, b.row_stride}; };
  for (; column + kTileVectors * kLanes <= n; column += kTileVectors * kLanes) {
    gemm_columns<kTileVectors>(a, right(), m, k, kLanes, keep, out + column, out_stride);
  }
  if (kTileVectors > 2 && column + 2 * kLanes <= n) {
    gemm_columns<2>(a, right(), m, k, kLanes, keep, out + column, out_stride);
    column += 2 * kLanes;
  }
  for (; column < n; column += kLanes) {
    gemm_columns<1>(a, right(), m, k, n - column < kLanes ? n - column : kLanes, keep, out + column, out_stride);
  }
}

}  // namespace pipo::kernels::cpu::PIPO_TARGET
