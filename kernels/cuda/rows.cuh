#pragma once

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/gemv.cuh"
#include "kernels/cuda/layout.h"
#include "kernels/cuda/tensor_core.cuh"

/// Work on single rows between the products.
namespace pipo::cuda {

/// Weight i of row `row`.
__device__ __forceinline__ float weight_at(const Matrix& w, std::int64_t row, int i) {
  const std::uint8_t* at = w.rows + row * row_bytes(w.type, w.k_padded);
  if (w.type == WeightType::kF32) return reinterpret_cast<const float*>(at)[i];
  if (w.type == WeightType::kBf16) return bf16_to_float(reinterpret_cast<const std::uint16_t*>(at)[i]);
  const float scale = bf16_to_float(w.scales[row * (w.k_padded / w.group) + i / w.group]);
  if (w.type == WeightType::kInt8) return scale * static_cast<float>(reinterpret_cast<const std::int8_t*>(at)[i]);
  const int byte = at[i / 32 * 16 + i % 16];
  return scale * static_cast<float>((i % 32 < 16 ? byte & 15 : byte >> 4) - 8);
}

/// out [count, k] = rows ids[...] of `table`. Grid [count]. The ids lie on the device: they may have been sampled there.
static __global__ void __launch_bounds__(256) embed_kernel(Matrix table, const int* ids, float* out, const int* enabled) {
  release_next();
  wait_for_previous();
  if (enabled != nullptr && *enabled == 0) return;
  const int row = min(max(ids[blockIdx.x], 0), table.n - 1);
  for (int i = threadIdx.x; i < table.k; i += blockDim.x) {
    out[static_cast<std::int64_t>(blockIdx.x) * table.k + i] = weight_at(table, row, i);
  }
}

/// y = x rms(x) w for rows of `dim`. Grid [rows]. In place allowed.
static __global__ void __launch_bounds__(256) rms_norm_kernel(const float* x, const float* w, float eps, int dim, float* y,
                                                              const int* enabled) {
  __shared__ float scratch[32];
  release_next();
  wait_for_previous();
  if (enabled != nullptr && *enabled == 0) return;
  const std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * dim;
  float sum = 0.0f;
  for (int i = threadIdx.x; i < dim; i += blockDim.x) sum += x[at + i] * x[at + i];
  const float scale = rsqrtf(block_sum(sum, scratch) / dim + eps);
  for (int i = threadIdx.x; i < dim; i += blockDim.x) y[at + i] = x[at + i] * scale * w[i];
}

/// fp32 rows on their way into gemm: normed or gated as gemv's inputs are, then rounded to bf16.
struct RowsInput {
  Input input = Input::kPlain;
  const float* x = nullptr;  ///< [rows, k], of kPairNorm and kJointNorm [rows, k / 2]
  const float* x2 = nullptr;
  const float* norm = nullptr;
  const float* norm2 = nullptr;
  std::int64_t x_stride = 0, x2_stride = 0;  ///< between rows; 0: as wide as a row
  float eps = 1e-6f;
  int head_dim = 0;
  int rows = 0, k = 0, k_padded = 0;
  std::uint16_t* to = nullptr;  ///< [rows, k_padded], zeros beyond k
};

constexpr int kPrepareThreads = 256;

/// N neighbouring floats; four of them lie on 16 bytes.
template <int N>
__device__ __forceinline__ void load_floats(const float* at, float (&v)[N]) {
  if constexpr (N == 4) {
    const float4 quad = *reinterpret_cast<const float4*>(at);
    v[0] = quad.x, v[1] = quad.y, v[2] = quad.z, v[3] = quad.w;
  } else {
    v[0] = *at;
  }
}
template <int N>
__device__ __forceinline__ void store_bf16(std::uint16_t* at, const float (&v)[N]) {
  if constexpr (N == 4) *reinterpret_cast<uint2*>(at) = make_uint2(bf16_pair(v[0], v[1]), bf16_pair(v[2], v[3]));
  else *at = float_to_bf16(v[0]);
}
template <int N>
__device__ __forceinline__ float squares(const float* x, int begin, int step, int end) {
  float sum = 0.0f;
  for (int i = begin * N; i < end; i += step * N) {
    float v[N];
    load_floats<N>(x + i, v);
#pragma unroll
    for (int e = 0; e < N; ++e) sum += v[e] * v[e];
  }
  return sum;
}

/// Heads of one row, a warp for each.
template <int N>
__device__ __forceinline__ void prepare_heads(const RowsInput& a, const float* x, const float* x2, std::uint16_t* to) {
  const int lane = threadIdx.x % 32, warps = kPrepareThreads / 32;
  for (int head = blockIdx.y * warps + threadIdx.x / 32; head < a.k / a.head_dim; head += gridDim.y * warps) {
    const int at = head * a.head_dim;
    const float scale = rsqrtf(warp_sum(squares<N>(x + at, lane, 32, a.head_dim)) / a.head_dim + a.eps);
    for (int i = lane * N; i < a.head_dim; i += 32 * N) {
      float v[N], gate[N], w[N];
      load_floats<N>(x + at + i, v);
      load_floats<N>(x2 + at + i, gate);
      load_floats<N>(a.norm + i, w);
#pragma unroll
      for (int e = 0; e < N; ++e) v[e] = w[e] * v[e] * scale * silu(gate[e]);
      store_bf16<N>(to + at + i, v);
    }
  }
}

/// Grid [rows, shares of a row]; more than one share only where a row needs no sum. N: elements at a time.
template <int N>
__global__ void __launch_bounds__(kPrepareThreads) prepare_rows_kernel(RowsInput a) {
  __shared__ float scratch[32];
  release_next();
  wait_for_previous();
  const bool two_halves = a.input == Input::kPairNorm || a.input == Input::kJointNorm;
  const int half = two_halves ? a.k / 2 : a.k;
  const float* x = a.x + blockIdx.x * (a.x_stride != 0 ? a.x_stride : half);
  const float* x2 = a.x2 + blockIdx.x * (a.x2_stride != 0 ? a.x2_stride : half);
  std::uint16_t* to = a.to + static_cast<std::int64_t>(blockIdx.x) * a.k_padded;
  const int first = blockIdx.y * kPrepareThreads + threadIdx.x, step = gridDim.y * kPrepareThreads;
  for (int i = a.k + first * N; i < a.k_padded; i += step * N) store_bf16<N>(to + i, {});
  if (a.input == Input::kGatedNorm) return prepare_heads<N>(a, x, x2, to);
  float scale = 1.0f, scale2 = 1.0f;
  if (a.input == Input::kNorm || two_halves) {
    scale = block_sum(squares<N>(x, threadIdx.x, kPrepareThreads, half), scratch);
    if (two_halves) scale2 = block_sum(squares<N>(x2, threadIdx.x, kPrepareThreads, half), scratch);
    if (a.input == Input::kJointNorm) scale = scale2 = (scale + scale2) / 2.0f;
    scale = rsqrtf(scale / half + a.eps);
    scale2 = rsqrtf(scale2 / half + a.eps);
  }
  const float* norm2 = a.input == Input::kPairNorm ? a.norm2 : a.norm + half;
  for (int i = first * N; i < a.k; i += step * N) {
    const bool second = i >= half;
    float v[N], other[N] = {};
    load_floats<N>(second ? x2 + i - half : x + i, v);
    if (a.input == Input::kSiluProduct) load_floats<N>(x2 + i, other);
    else if (a.input != Input::kPlain) load_floats<N>(second ? norm2 + i - half : a.norm + i, other);
#pragma unroll
    for (int e = 0; e < N; ++e) {
      if (a.input == Input::kSiluProduct) v[e] = silu(v[e]) * other[e];
      else if (a.input != Input::kPlain) v[e] *= (second ? scale2 : scale) * other[e];
    }
    store_bf16<N>(to + i, v);
  }
}

}  // namespace pipo::cuda
