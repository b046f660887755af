#pragma once

#include "kernels/cuda/gemv_input.cuh"

/// Rows in fp32 that share the launch of a product of another type, such as the gates of a recurrent layer: too few to
/// be worth a launch of their own. A warp reads a row straight from memory, having asked for it as soon as it started.
namespace pipo::cuda {

/// Adds bias, activation and residual to one sum of a term.
__device__ __forceinline__ void put_sum(const GemvArgs& a, const GemvTerm& term, int row, float v) {
  float* y = term.y + blockIdx.y * a.y_stride + row;
  if (term.bias != nullptr) v += term.bias[row];
  if (a.silu_output) v = silu(v);
  *y = term.accumulate ? *y + v : v;
}

struct SideRows {
  int from, count, stride;

  /// The warps with the highest numbers begin: they are the ones that may have nothing else.
  __device__ __forceinline__ explicit SideRows(const GemvArgs& a) : count(0) {
    for (int t = a.n_terms; t < a.n_terms + a.n_side; ++t) count += a.terms[t].w.n;
    const int warps = blockDim.x / 32;
    from = (warps - 1 - static_cast<int>(threadIdx.x / 32)) * gridDim.x + blockIdx.x;
    stride = warps * gridDim.x;
  }
  static __device__ __forceinline__ const GemvTerm& locate(const GemvArgs& a, int index, int* row) {
    int t = a.n_terms;
    for (; index >= a.terms[t].w.n; ++t) index -= a.terms[t].w.n;
    *row = index;
    return a.terms[t];
  }
  static __device__ __forceinline__ const float* weights(const GemvTerm& term, int row) {
    return reinterpret_cast<const float*>(term.w.rows) + static_cast<std::int64_t>(row) * term.w.k_padded;
  }

  __device__ __forceinline__ void prefetch(const GemvArgs& a) const {
    constexpr int kLine = 128 / 4;
    for (int index = from; index < count; index += stride) {
      int row;
      const GemvTerm& term = locate(a, index, &row);
      for (int i = threadIdx.x % 32 * kLine; i < term.w.k; i += 32 * kLine) prefetch_l2(weights(term, row) + i);
    }
  }

  template <WeightType W>
  __device__ __forceinline__ void multiply(const GemvArgs& a, const GemvShared& s, int k_padded) const {
    for (int index = from; index < count; index += stride) {
      int row;
      const GemvTerm& term = locate(a, index, &row);
      const float* at = weights(term, row);
      float sum = 0.0f;
#pragma unroll 4
      for (int i = threadIdx.x % 32 * 4; i < term.w.k; i += 128) {
        const uint4 w = load_stream(at + i);
        const float4 x = *reinterpret_cast<const float4*>(s.plain + plain_place<W>(i, k_padded));
        sum += __uint_as_float(w.x) * x.x + __uint_as_float(w.y) * x.y + __uint_as_float(w.z) * x.z +
               __uint_as_float(w.w) * x.w;
      }
      sum = warp_sum(sum);
      if (threadIdx.x % 32 == 0) put_sum(a, term, row, sum);
    }
  }
};

}  // namespace pipo::cuda
