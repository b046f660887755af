#pragma once

#include <cstdint>

/// Elementary functions on vectors. Included after a header of kernels/cpu/simd.
namespace pipo::kernels::cpu::PIPO_TARGET {

static inline int smaller(int a, int b) { return a < b ? a : b; }
static inline int larger(int a, int b) { return a > b ? a : b; }
static inline int round_up(int n, int multiple) { return (n + multiple - 1) / multiple * multiple; }

/// The first `lanes` lanes. A constant `lanes` of kLanes costs nothing.
static inline F32 load_lanes(const float* p, int lanes) {
  return lanes == kLanes ? f32_load(p) : f32_load_first(p, lanes);
}

static inline void store_lanes(float* p, F32 x, int lanes) {
  if (lanes == kLanes) {
    f32_store(p, x);
  } else {
    f32_store_first(p, x, lanes);
  }
}

static inline F32 negate(F32 x) { return f32_sub(f32_zero(), x); }

/// e^x to about 1e-7 relative for |x| < 10 and 1e-6 up to the ends of the range; 0 below -87, finite above 88.3.
static inline F32 f32_exp(F32 x) {
  const F32 lowest = f32_set1(-87.0f), highest = f32_set1(88.37f), log2_e = f32_set1(1.44269504f);
  const F32 clamped = f32_min(highest, f32_max(lowest, x));
  // e^x = 2^n 2^f with f in [-1/2, 1/2]; the fused product keeps f exact enough in one step.
  const I32 n = i32_round(f32_mul(clamped, log2_e));
  const F32 f = f32_fma(clamped, log2_e, negate(f32_from_i32(n)));
  F32 p = f32_set1(0.001326472731f);  // minimax for 2^f
  p = f32_fma(p, f, f32_set1(0.009671512991f));
  p = f32_fma(p, f, f32_set1(0.055507335812f));
  p = f32_fma(p, f, f32_set1(0.240222424269f));
  p = f32_fma(p, f, f32_set1(0.693147003651f));
  p = f32_fma(p, f, f32_set1(1.0f));
  const F32 scaled = f32_from_bits(i32_add(i32_from_bits(p), i32_shift_left<23>(n)));
  return f32_zero_where_less(scaled, x, lowest);
}

static inline F32 f32_sigmoid(F32 x) {
  const F32 one = f32_set1(1.0f);
  return f32_div(one, f32_add(one, f32_exp(negate(x))));
}

static inline F32 f32_silu(F32 x) { return f32_div(x, f32_add(f32_set1(1.0f), f32_exp(negate(x)))); }

static inline float scalar_sigmoid(float x) { return 1.0f / (1.0f + __builtin_expf(-x)); }

static inline float scalar_softplus(float x) { return x > 20.0f ? x : __builtin_log1pf(__builtin_expf(x)); }

/// sum(x^2)
static inline float sum_of_squares(const float* x, std::int32_t n) {
  F32 sums[4] = {f32_zero(), f32_zero(), f32_zero(), f32_zero()};
  std::int32_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    for (int j = 0; j < 4; ++j) {
      const F32 value = f32_load(x + i + j * kLanes);
      sums[j] = f32_fma(value, value, sums[j]);
    }
  }
  for (; i < n; i += kLanes) {
    const F32 value = load_lanes(x + i, n - i < kLanes ? n - i : kLanes);
    sums[0] = f32_fma(value, value, sums[0]);
  }
  return f32_sum(f32_add(f32_add(sums[0], sums[1]), f32_add(sums[2], sums[3])));
}

/// Calls body(offset, lanes) for 0 ... n in steps of a vector; `lanes` is kLanes but for a shorter last one.
template <class Body>
static inline void for_each_vector(std::int64_t n, const Body& body) {
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) body(i, kLanes);
  if (i < n) body(i, static_cast<int>(n - i));
}

}  // namespace pipo::kernels::cpu::PIPO_TARGET
