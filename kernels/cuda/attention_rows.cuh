#pragma once

#include "kernels/cuda/attention.cuh"

/// Attention of many rows: what every row needs before any looks at the cache, and the plain form for a cache in fp32.
/// A cache in bf16 goes through the tensor cores, see attention_tiles.cuh.
namespace pipo::cuda {

struct AttentionRowsArgs {
  int n_heads = 0, n_kv_heads = 0, head_dim = 0, rotary_dim = 0;
  float eps = 1e-6f;
  bool kv_f32 = false;
  int first_position = 0;  ///< of row 0
  int rows = 0;
  int first_visible = 0;  ///< at most first_position
  /// [rows, n_heads, 2 head_dim], query and gate per head; null: only append. With a cache in fp32 the queries are
  /// normed and rotated in place.
  float* q_gate = nullptr;
  const float* k = nullptr;  ///< [rows, n_kv_heads, head_dim]
  const float* v = nullptr;
  const float* q_norm = nullptr;  ///< [head_dim]
  const float* k_norm = nullptr;
  const float* inv_freq = nullptr;  ///< [rotary_dim / 2]
  void* keys = nullptr;             ///< [capacity, n_kv_heads, head_dim]
  void* values = nullptr;
  std::uint16_t* queries = nullptr;  ///< [rows, n_heads, head_dim] scratch of a cache in bf16: times the softmax scale
  float* partial = nullptr;          ///< attention_rows_scratch_bytes; null: a row's positions are not shared out
  float* out = nullptr;              ///< [rows, n_heads * head_dim], gated
};

constexpr int kMostTileRows = 128;  ///< rows of all heads of a group that a multiprocessor works on at a time

/// What `partial` holds, whatever the rows.
inline std::int64_t attention_rows_scratch_bytes(int head_dim, int multiprocessors) {
  return std::int64_t{multiprocessors} * kMostTileRows * (head_dim + 2) * 4;
}

constexpr int kAppendThreads = 256;
constexpr int kMostRotaryDim = 256;

/// One warp: values[i] = element lane + 32 i of RoPE(x rms(x) w). Rotated elements meet through `shared`.
template <int HeadDim>
__device__ __forceinline__ void norm_rotate_row(const AttentionRowsArgs& a, const float* x, const float* w,
                                                const float* rotation, float* shared, float (&values)[HeadDim / 32]) {
  const int lane = threadIdx.x % 32, half = a.rotary_dim / 2;
  float sum = 0.0f;
#pragma unroll
  for (int i = 0; i < HeadDim / 32; ++i) {
    values[i] = x[lane + 32 * i];
    sum += values[i] * values[i];
  }
  const float scale = rsqrtf(warp_sum(sum) / HeadDim + a.eps);
#pragma unroll
  for (int i = 0; i < HeadDim / 32; ++i) shared[lane + 32 * i] = values[i] *= scale * w[lane + 32 * i];
  __syncwarp();
#pragma unroll
  for (int i = 0; i < HeadDim / 32; ++i) {
    const int e = lane + 32 * i;
    if (e >= a.rotary_dim) continue;
    const float cosine = rotation[e % half * 2], sine = rotation[e % half * 2 + 1];
    values[i] = e < half ? values[i] * cosine - shared[e + half] * sine : values[i] * cosine + shared[e - half] * sine;
  }
  __syncwarp();
}

/// Norms and rotates keys and queries of one row; appends its keys and values to the cache. Grid [rows].
template <int HeadDim, bool F32>
__global__ void __launch_bounds__(kAppendThreads) attention_append_kernel(AttentionRowsArgs a) {
  constexpr int kPerLane = HeadDim / 32, kWarps = kAppendThreads / 32;
  __shared__ float rotation[kMostRotaryDim], heads[kWarps][HeadDim];
  const int row = blockIdx.x, position = a.first_position + row, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  for (int i = threadIdx.x; i < a.rotary_dim / 2; i += blockDim.x) {  // in double precision: positions reach 10^5
    const double angle = static_cast<double>(position) * a.inv_freq[i];
    rotation[2 * i] = static_cast<float>(cos(angle));
    rotation[2 * i + 1] = static_cast<float>(sin(angle));
  }
  __syncthreads();
  wait_for_previous();
  const std::int64_t kv_row = static_cast<std::int64_t>(row) * a.n_kv_heads;
  const std::int64_t to_row = static_cast<std::int64_t>(position) * a.n_kv_heads;
  const int n_query_heads = a.q_gate != nullptr ? a.n_heads : 0;
  const float score_scale = rsqrtf(static_cast<float>(HeadDim)) * kLog2E;  // weights are powers of two
  for (int job = warp; job < a.n_kv_heads + n_query_heads; job += kWarps) {
    float values[kPerLane];
    if (job < a.n_kv_heads) {
      norm_rotate_row<HeadDim>(a, a.k + (kv_row + job) * HeadDim, a.k_norm, rotation, heads[warp], values);
      const std::int64_t to = (to_row + job) * HeadDim + lane;
#pragma unroll
      for (int i = 0; i < kPerLane; ++i) {
        store_kv<F32>(a.keys, to + 32 * i, values[i]);
        store_kv<F32>(a.values, to + 32 * i, a.v[(kv_row + job) * HeadDim + lane + 32 * i]);
      }
    } else {
      const std::int64_t head = static_cast<std::int64_t>(row) * a.n_heads + job - a.n_kv_heads;
      float* q = a.q_gate + head * 2 * HeadDim;
      norm_rotate_row<HeadDim>(a, q, a.q_norm, rotation, heads[warp], values);
#pragma unroll
      for (int i = 0; i < kPerLane; ++i) {
        if (F32) q[lane + 32 * i] = values[i];
        else a.queries[head * HeadDim + lane + 32 * i] = float_to_bf16(values[i] * score_scale);
      }
    }
  }
}

/// One row and query head per block; warps take positions in turn. Grid [n_heads, rows].
template <int HeadDim>
__global__ void __launch_bounds__(kAttentionThreads) attention_rows_plain_kernel(AttentionRowsArgs a) {
  constexpr int kPerLane = HeadDim / 32;
  __shared__ float joined[kAttentionWarps][HeadDim], largest[kAttentionWarps], total[kAttentionWarps];
  const int head = blockIdx.x, row = blockIdx.y, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int kv = head / (a.n_heads / a.n_kv_heads), position = a.first_position + row;
  const std::int64_t at = static_cast<std::int64_t>(row) * a.n_heads + head;
  wait_for_previous();
  float q[kPerLane], acc[kPerLane] = {}, m = -INFINITY, l = 0.0f;
  const float scale = rsqrtf(static_cast<float>(HeadDim));
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) {
    const int e = lane * kPerLane + i;
    q[i] = scale * a.q_gate[at * 2 * HeadDim + e];
  }
  for (int p = a.first_visible + warp; p <= position; p += kAttentionWarps) {
    const std::int64_t from = (static_cast<std::int64_t>(p) * a.n_kv_heads + kv) * HeadDim + lane * kPerLane;
    float k[kPerLane], v[kPerLane], score = 0.0f;
    load_kv_lane<true, kPerLane>(a.keys, from, k);
    load_kv_lane<true, kPerLane>(a.values, from, v);
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) score += q[i] * k[i];
    score = warp_sum(score);
    const float bigger = fmaxf(m, score), shrink = expf(m - bigger), weight = expf(score - bigger);
    m = bigger;
    l = l * shrink + weight;
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) acc[i] = acc[i] * shrink + weight * v[i];
  }
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) joined[warp][lane * kPerLane + i] = acc[i];
  if (lane == 0) {
    largest[warp] = m;
    total[warp] = l;
  }
  __syncthreads();
  float best = -INFINITY;
  for (int w = 0; w < kAttentionWarps; ++w) best = fmaxf(best, largest[w]);
  for (int d = threadIdx.x; d < HeadDim; d += blockDim.x) {
    float sum = 0.0f, weight = 0.0f;
    for (int w = 0; w < kAttentionWarps; ++w) {
      const float factor = expf(largest[w] - best);  // 0 of a warp that saw no position
      sum += factor * joined[w][d];
      weight += factor * total[w];
    }
    a.out[at * HeadDim + d] = sum / weight * sigmoid(a.q_gate[at * 2 * HeadDim + HeadDim + d]);
  }
}

}  // namespace pipo::cuda
