#pragma once

#include "kernels/cuda/device.cuh"

/// Gated attention of one position over the cache. A block takes one kv head and a share of the positions, so each key
/// and value is read once for all query heads of its group; the last block of a kv head joins the shares and applies
/// the gate. Norm, rotation and the append of this position's row happen in the same kernel.
namespace pipo::cuda {

constexpr int kAttentionWarps = 4;
constexpr int kAttentionThreads = 32 * kAttentionWarps;
constexpr int kMostSplits = 64;

struct AttentionStepArgs {
  int n_heads = 0, n_kv_heads = 0, head_dim = 0, rotary_dim = 0;
  float eps = 1e-6f;
  bool kv_f32 = false;
  const float* q_gate = nullptr;  ///< [n_heads, 2 head_dim], query and gate per head; null: only append the row
  const float* k = nullptr;       ///< [n_kv_heads, head_dim]
  const float* v = nullptr;
  const float* q_norm = nullptr;    ///< [head_dim]
  const float* k_norm = nullptr;
  const float* rotation = nullptr;  ///< [rotary_dim / 2, 2] cosine and sine of this position
  void* keys = nullptr;             ///< [capacity, n_kv_heads, head_dim]
  void* values = nullptr;
  const int* position = nullptr;       ///< device word
  int position_offset = 0;             ///< added to it
  const int* first_visible = nullptr;  ///< device word; null: 0
  int splits = 1;
  float* partial = nullptr;  ///< [n_kv_heads, splits, group, head_dim + 2]
  int* arrived = nullptr;    ///< [n_kv_heads], zero before and after
  float* out = nullptr;      ///< [n_heads, head_dim], gated
  const int* enabled = nullptr;
};

template <bool F32>
__device__ __forceinline__ float load_kv(const void* rows, std::int64_t i) {
  if (F32) return static_cast<const float*>(rows)[i];
  return bf16_to_float(static_cast<const std::uint16_t*>(rows)[i]);
}
template <bool F32>
__device__ __forceinline__ void store_kv(void* rows, std::int64_t i, float v) {
  if (F32) static_cast<float*>(rows)[i] = v;
  else static_cast<std::uint16_t*>(rows)[i] = float_to_bf16(v);
}

/// PerLane neighbouring elements from element lane * PerLane on.
template <bool F32, int PerLane>
__device__ __forceinline__ void load_kv_lane(const void* rows, std::int64_t at, float (&out)[PerLane]) {
  if constexpr (!F32 && PerLane == 8) {
    const uint4 w = *reinterpret_cast<const uint4*>(static_cast<const std::uint16_t*>(rows) + at);
    out[0] = bf16_low(w.x), out[1] = bf16_high(w.x), out[2] = bf16_low(w.y), out[3] = bf16_high(w.y);
    out[4] = bf16_low(w.z), out[5] = bf16_high(w.z), out[6] = bf16_low(w.w), out[7] = bf16_high(w.w);
  } else {
#pragma unroll
    for (int i = 0; i < PerLane; ++i) out[i] = load_kv<F32>(rows, at + i);
  }
}

/// One warp: to = RoPE(x rms(x) w); `to` in shared memory.
__device__ __forceinline__ void norm_rotate_warp(const AttentionStepArgs& a, const float* x, const float* w, float* to) {
  const int lane = threadIdx.x % 32;
  float sum = 0.0f;
  for (int i = lane; i < a.head_dim; i += 32) sum += x[i] * x[i];
  const float scale = rsqrtf(warp_sum(sum) / a.head_dim + a.eps);
  for (int i = lane; i < a.head_dim; i += 32) to[i] = x[i] * scale * w[i];
  __syncwarp();
  const int half = a.rotary_dim / 2;
  for (int i = lane; i < half; i += 32) {
    const float cosine = a.rotation[2 * i], sine = a.rotation[2 * i + 1], low = to[i], high = to[i + half];
    to[i] = low * cosine - high * sine;
    to[i + half] = high * cosine + low * sine;
  }
  __syncwarp();
}

/// Grid [n_kv_heads, splits].
template <int HeadDim, int Group, bool F32>
__global__ void __launch_bounds__(kAttentionThreads) attention_step_kernel(AttentionStepArgs a) {
  constexpr int kPerLane = HeadDim / 32;
  __shared__ float q[Group][HeadDim], key[HeadDim];
  __shared__ float joined[kAttentionWarps][Group][HeadDim], largest[kAttentionWarps][Group], total[kAttentionWarps][Group];
  __shared__ int is_last;
  const int kv = blockIdx.x, split = blockIdx.y, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  release_next();
  wait_for_previous();
  if (a.enabled != nullptr && *a.enabled == 0) return;
  const int position = *a.position + a.position_offset;
  const int first = a.first_visible != nullptr ? min(*a.first_visible, position) : 0;
  const int share = (position - first + a.splits) / a.splits;  // ceil of (position - first + 1) / splits
  const int begin = first + split * share, end = min(begin + share, position + 1);
  const std::int64_t stride = static_cast<std::int64_t>(a.n_kv_heads) * HeadDim;

  if (begin <= position && end == position + 1) {  // this block's share ends with the new row
    if (warp == 0) {
      norm_rotate_warp(a, a.k + kv * HeadDim, a.k_norm, key);
      for (int i = lane; i < HeadDim; i += 32) {
        store_kv<F32>(a.keys, position * stride + kv * HeadDim + i, key[i]);
        store_kv<F32>(a.values, position * stride + kv * HeadDim + i, a.v[kv * HeadDim + i]);
      }
    }
  }
  if (a.q_gate == nullptr) return;
  for (int h = warp; h < Group; h += kAttentionWarps) {
    norm_rotate_warp(a, a.q_gate + static_cast<std::int64_t>(kv * Group + h) * 2 * HeadDim, a.q_norm, q[h]);
  }
  __syncthreads();

  float mine[Group][kPerLane], acc[Group][kPerLane] = {}, m[Group], l[Group];
  const float scale = rsqrtf(static_cast<float>(HeadDim));
#pragma unroll
  for (int h = 0; h < Group; ++h) {
    m[h] = -INFINITY;
    l[h] = 0.0f;
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) mine[h][i] = q[h][lane * kPerLane + i] * scale;
  }
  for (int p = begin + warp; p < end; p += kAttentionWarps) {
    const std::int64_t at = p * stride + kv * HeadDim + lane * kPerLane;
    float k[kPerLane], v[kPerLane];
    load_kv_lane<F32, kPerLane>(a.keys, at, k);
    load_kv_lane<F32, kPerLane>(a.values, at, v);
#pragma unroll
    for (int h = 0; h < Group; ++h) {
      float score = 0.0f;
#pragma unroll
      for (int i = 0; i < kPerLane; ++i) score += mine[h][i] * k[i];
      score = warp_sum(score);
      const float bigger = fmaxf(m[h], score), shrink = expf(m[h] - bigger), weight = expf(score - bigger);
      m[h] = bigger;
      l[h] = l[h] * shrink + weight;
#pragma unroll
      for (int i = 0; i < kPerLane; ++i) acc[h][i] = acc[h][i] * shrink + weight * v[i];
    }
  }
#pragma unroll
  for (int h = 0; h < Group; ++h) {
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) joined[warp][h][lane * kPerLane + i] = acc[h][i];
    if (lane == 0) {
      largest[warp][h] = m[h];
      total[warp][h] = l[h];
    }
  }
  __syncthreads();

  constexpr int kRecord = HeadDim + 2;
  float* partial = a.partial + (static_cast<std::int64_t>(kv) * a.splits + split) * Group * kRecord;
  for (int i = threadIdx.x; i < Group * HeadDim; i += blockDim.x) {
    const int h = i / HeadDim, d = i % HeadDim;
    float best = -INFINITY, sum = 0.0f, weight = 0.0f;
    for (int w = 0; w < kAttentionWarps; ++w) best = fmaxf(best, largest[w][h]);
    for (int w = 0; w < kAttentionWarps && best > -INFINITY; ++w) {
      const float factor = expf(largest[w][h] - best);
      sum += factor * joined[w][h][d];
      weight += factor * total[w][h];
    }
    partial[h * kRecord + d] = sum;
    if (d == 0) {
      partial[h * kRecord + HeadDim] = best;
      partial[h * kRecord + HeadDim + 1] = weight;
    }
  }
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) is_last = atomicAdd(a.arrived + kv, 1) == a.splits - 1;
  __syncthreads();
  if (!is_last) return;
  __threadfence();
  if (threadIdx.x == 0) a.arrived[kv] = 0;
  const float* all = a.partial + static_cast<std::int64_t>(kv) * a.splits * Group * kRecord;
  for (int i = threadIdx.x; i < Group * HeadDim; i += blockDim.x) {
    const int h = i / HeadDim, d = i % HeadDim, head = kv * Group + h;
    float best = -INFINITY, sum = 0.0f, weight = 0.0f;
    for (int s = 0; s < a.splits; ++s) best = fmaxf(best, all[(s * Group + h) * kRecord + HeadDim]);
    for (int s = 0; s < a.splits; ++s) {
      const float* record = all + (s * Group + h) * kRecord;
      const float factor = expf(record[HeadDim] - best);
      sum += factor * record[d];
      weight += factor * record[HeadDim + 1];
    }
    const float gate = a.q_gate[static_cast<std::int64_t>(head) * 2 * HeadDim + HeadDim + d];
    a.out[static_cast<std::int64_t>(head) * HeadDim + d] = sum / weight * sigmoid(gate);
  }
}

/// Cosine and sine of every frequency at one position, [half, 2]. In double precision: positions reach 10^5.
static __global__ void rotation_kernel(const float* inv_freq, int half, const int* position, int offset, float* rotation) {
  wait_for_previous();
  for (int i = threadIdx.x; i < half; i += blockDim.x) {
    const double angle = static_cast<double>(*position + offset) * inv_freq[i];
    rotation[2 * i] = static_cast<float>(cos(angle));
    rotation[2 * i + 1] = static_cast<float>(sin(angle));
  }
}

}  // namespace pipo::cuda
