#pragma once

#include "kernels/cuda/delta_net.cuh"
#include "kernels/cuda/tensor_core.cuh"

/// What of the gated delta mixer needs no order: convolution, norms and gates of many positions.
namespace pipo::cuda {

constexpr int kPrepareRows = 16;  ///< of a warp: it reads the convolution's weights once for all of them
constexpr int kMostTaps = 4;

__device__ __forceinline__ float4 load_four(const float* at) { return *reinterpret_cast<const float4*>(at); }

/// The input of four channels from c on at row r of the run, or before it in the ring, or zero before everything.
__device__ __forceinline__ float4 earlier_input(const DeltaStepArgs& a, int r, int position, int c) {
  const int channels = a.shape.channels(), at = position + r;
  if (r >= 0) return load_four(a.qkv + static_cast<std::int64_t>(r) * channels + c);
  if (at >= 0) return load_four(a.ring + at % a.shape.taps * channels + c);
  return make_float4(0.0f, 0.0f, 0.0f, 0.0f);
}

__device__ __forceinline__ float4 add_product(float4 sum, float4 x, float4 w) {
  return make_float4(sum.x + x.x * w.x, sum.y + x.y * w.y, sum.z + x.z * w.z, sum.w + x.w * w.w);
}

/// Decay and beta of kPrepareRows rows.
__device__ __forceinline__ void prepare_gates(const DeltaStepArgs& a, int row0) {
  const int heads = a.shape.n_value_heads, count = min(kPrepareRows, a.rows - row0) * heads;
  for (int i = threadIdx.x; i < count; i += kDeltaThreads) {
    const int r = row0 + i / heads, head = i % heads;
    float* gates = a.gates + static_cast<std::int64_t>(r) * 2 * heads + head;
    gates[0] = decay_of(a, r, head);
    gates[heads] = sigmoid(a.b[static_cast<std::int64_t>(r) * heads + head]);
  }
}

/// A warp takes one head's query, key or value through kPrepareRows rows, four channels to a lane. `rounded`: queries and
/// keys become what the tensor cores read of them. Grid [blocks of rows, blocks of heads].
static __global__ void __launch_bounds__(kDeltaThreads) delta_prepare_kernel(DeltaStepArgs a, bool rounded) {
  const DeltaShape shape = a.shape;
  const int row0 = blockIdx.x * kPrepareRows, last = min(a.rows, row0 + kPrepareRows), lane = threadIdx.x % 32;
  const int head = blockIdx.y * (kDeltaThreads / 32) + threadIdx.x / 32, key_heads = 2 * shape.n_key_heads;
  wait_for_previous();
  if (blockIdx.y == 0) prepare_gates(a, row0);
  if (head >= key_heads + shape.n_value_heads) return;
  const bool is_value = head >= key_heads;
  const int dim = is_value ? shape.value_dim : shape.key_dim, channels = shape.channels(), position = *a.position;
  const int c = (is_value ? key_heads * shape.key_dim + (head - key_heads) * dim : head * dim) + lane * 4;
  const bool here = lane * 4 < dim;  // every lane stays for the sums
  const float4 zero = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  float4 w[kMostTaps], x[kMostTaps];  // the last belong to the newest
#pragma unroll
  for (int t = 0; t < kMostTaps; ++t) {
    const int tap = t - (kMostTaps - shape.taps);
    w[t] = here && tap >= 0 ? load_four(a.conv + tap * channels + c) : zero;
    x[t] = here && tap > 0 ? earlier_input(a, row0 - kMostTaps + t, position, c) : zero;
  }
#pragma unroll 4
  for (int r = row0; r < last; ++r) {
#pragma unroll
    for (int t = 0; t + 1 < kMostTaps; ++t) x[t] = x[t + 1];
    x[kMostTaps - 1] = here ? load_four(a.qkv + static_cast<std::int64_t>(r) * channels + c) : zero;
    float4 v = zero;
#pragma unroll
    for (int t = 0; t < kMostTaps; ++t) v = add_product(v, x[t], w[t]);
    v = make_float4(silu(v.x), silu(v.y), silu(v.z), silu(v.w));
    if (!is_value) {
      float scale = rsqrtf(warp_sum(v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w) + 1e-6f);
      if (head < shape.n_key_heads) scale *= rsqrtf(static_cast<float>(dim));
      v = make_float4(v.x * scale, v.y * scale, v.z * scale, v.w * scale);
      if (rounded) {
        v = make_float4(__uint_as_float(rounded_tf32(v.x)), __uint_as_float(rounded_tf32(v.y)),
                        __uint_as_float(rounded_tf32(v.z)), __uint_as_float(rounded_tf32(v.w)));
      }
    }
    if (here) *reinterpret_cast<float4*>(a.mixed + static_cast<std::int64_t>(r) * channels + c) = v;
  }
}

/// Leaves the last inputs of a run of rows in the ring. Not part of the kernels above: they still read older rows.
static __global__ void delta_ring_kernel(DeltaStepArgs a) {
  wait_for_previous();
  const int channels = a.shape.channels(), taps = a.shape.taps, position = *a.position;
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < taps * channels; i += gridDim.x * blockDim.x) {
    const int r = a.rows - taps + i / channels;
    if (r >= 0) a.ring[(position + r) % taps * channels + i % channels] =
        a.qkv[static_cast<std::int64_t>(r) * channels + i % channels];
  }
}

}  // namespace pipo::cuda
