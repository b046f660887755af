#pragma once

#include "kernels/cuda/device.cuh"

/// The gated delta mixer between its projections. One position goes through a single fused kernel; many positions are
/// prepared in parallel (convolution, norms, gates) and then scanned in order, see delta_scan.cuh. The gated norm at the
/// end needs whole heads and is part of the output projection's input (Input::kGatedNorm).
///
/// A warp owns 8 columns of one head's state: S [key_dim, 8], lane l holds the rows l, l + 32, ... The delta rule never
/// mixes columns, so warps never wait for each other.
///
/// The convolution's history is a ring of `taps` rows indexed by position, so that the row of this position can be
/// written while other blocks read the older ones.
namespace pipo::cuda {

constexpr int kDeltaThreads = 128;
constexpr int kDeltaColumns = 8;  ///< per warp
constexpr int kDeltaBlockColumns = kDeltaColumns * kDeltaThreads / 32;
constexpr int kMostDeltaDim = 128;

struct DeltaShape {
  int n_key_heads = 0, n_value_heads = 0, key_dim = 0, value_dim = 0, taps = 4;

  __host__ __device__ int key_width() const { return n_key_heads * key_dim; }
  __host__ __device__ int value_width() const { return n_value_heads * value_dim; }
  __host__ __device__ int channels() const { return 2 * key_width() + value_width(); }
};

struct DeltaStepArgs {
  DeltaShape shape;
  const float* qkv = nullptr;            ///< [rows, channels]
  const float* a = nullptr;              ///< [rows, n_value_heads]
  const float* b = nullptr;              ///< [rows, n_value_heads]
  const float* conv = nullptr;           ///< [taps, channels], the last multiplies the newest
  const float* neg_exp_a_log = nullptr;  ///< [n_value_heads]
  const float* dt_bias = nullptr;        ///< [n_value_heads]
  float* ring = nullptr;                 ///< [taps, channels]
  float* state = nullptr;                ///< [n_value_heads, key_dim, value_dim]
  float* out = nullptr;                  ///< [rows, value_width], before the gated norm
  const int* position = nullptr;         ///< device word: of row 0
  int rows = 1;
  float* mixed = nullptr;  ///< [rows, channels] scratch of the scan: q, k normed, v
  float* gates = nullptr;  ///< [rows, 2, n_value_heads] scratch of the scan: decay, beta
  bool exact = false;             ///< position by position whatever the rows: for weights in fp32
  void* scratch = nullptr;        ///< for runs in chunks, see delta_scratch_bytes; without enough of it there are none
  std::int64_t scratch_bytes = 0;
  const int* enabled = nullptr;
};

/// SiLU of the convolution of channel c at row r.
__device__ __forceinline__ float convolved(const DeltaStepArgs& a, int r, int position, int c) {
  const int channels = a.shape.channels(), taps = a.shape.taps;
  float sum = 0.0f;
  for (int t = 0; t < taps; ++t) {
    const int from = r - (taps - 1) + t;  // row whose input tap t multiplies
    const int at = position + from;
    float input = 0.0f;
    if (from >= 0) input = a.qkv[static_cast<std::int64_t>(from) * channels + c];
    else if (at >= 0) input = a.ring[at % taps * channels + c];
    sum += a.conv[t * channels + c] * input;
  }
  return silu(sum);
}

__device__ __forceinline__ float decay_of(const DeltaStepArgs& a, int r, int head) {
  const float x = a.a[static_cast<std::int64_t>(r) * a.shape.n_value_heads + head] + a.dt_bias[head];
  return expf(a.neg_exp_a_log[head] * softplus(x));
}

/// One halving: a lane gives away half of its values and adds up the other half. Plain arithmetic on constants, so that
/// the values stay in registers.
template <int Half>
__device__ __forceinline__ void halve_sums(float (&v)[16]) {
  constexpr int kMask = 8 / Half;
  const bool upper = (threadIdx.x & kMask) != 0;
#pragma unroll
  for (int i = 0; i < Half; ++i) {
    const float given = upper ? v[i] : v[i + Half], kept = upper ? v[i + Half] : v[i];
    v[i] = kept + __shfl_xor_sync(kFullWarp, given, kMask);
  }
}

/// Sums of 16 values over a warp: afterwards lane l holds the sum of value bit_reverse(l % 16).
__device__ __forceinline__ float scattered_sums(float (&v)[16]) {
  halve_sums<8>(v);
  halve_sums<4>(v);
  halve_sums<2>(v);
  halve_sums<1>(v);
  return v[0] + __shfl_xor_sync(kFullWarp, v[0], 16);
}
__device__ __forceinline__ int lane_of_sum(int value) {
  return (value >> 3 & 1) | (value >> 2 & 1) << 1 | (value >> 1 & 1) << 2 | (value & 1) << 3;
}

/// One position of the delta rule for the warp's columns. With P = decay S, u = beta (v - P^T k), o = P^T q + u (k q),
/// S = P + k u^T, one pass over S is enough. `v` [8], `o` [8] in memory; `columns` of them exist.
template <int RowsPerLane>
__device__ __forceinline__ void delta_rule(float (&s)[RowsPerLane][kDeltaColumns], const float (&k)[RowsPerLane],
                                           const float (&q)[RowsPerLane], float decay, float beta, const float* v,
                                           int columns, float* o) {
  const int lane = threadIdx.x % 32;
  float sums[16] = {}, kq = 0.0f;
#pragma unroll
  for (int r = 0; r < RowsPerLane; ++r) {
    kq += k[r] * q[r];
#pragma unroll
    for (int j = 0; j < kDeltaColumns; ++j) {
      s[r][j] *= decay;
      sums[j] += s[r][j] * k[r];
      sums[8 + j] += s[r][j] * q[r];
    }
  }
  kq = warp_sum(kq);
  const float mine = scattered_sums(sums);
#pragma unroll
  for (int j = 0; j < kDeltaColumns; ++j) {
    const float recalled = __shfl_sync(kFullWarp, mine, lane_of_sum(j));
    const float u = j < columns ? beta * (v[j] - recalled) : 0.0f;
#pragma unroll
    for (int r = 0; r < RowsPerLane; ++r) s[r][j] += k[r] * u;
  }
  const int column = lane % kDeltaColumns;
  const float recalled = __shfl_sync(kFullWarp, mine, lane_of_sum(column));
  const float read = __shfl_sync(kFullWarp, mine, lane_of_sum(8 + column));
  if (lane < columns) o[lane] = read + beta * (v[lane] - recalled) * kq;
}

template <int RowsPerLane>
__device__ __forceinline__ void move_state(const DeltaShape& shape, float* state, int column0, int columns, bool store,
                                           float (&s)[RowsPerLane][kDeltaColumns]) {
  const int lane = threadIdx.x % 32;
  const bool whole = columns == kDeltaColumns && shape.value_dim % 4 == 0;
#pragma unroll
  for (int r = 0; r < RowsPerLane; ++r) {
    const int row = lane + 32 * r;
    float* at = state + row * shape.value_dim + column0;
    if (row >= shape.key_dim) {
      for (int j = 0; j < kDeltaColumns && !store; ++j) s[r][j] = 0.0f;
    } else if (whole) {
      float4* quads = reinterpret_cast<float4*>(at);
      if (store) {
        quads[0] = make_float4(s[r][0], s[r][1], s[r][2], s[r][3]);
        quads[1] = make_float4(s[r][4], s[r][5], s[r][6], s[r][7]);
      } else {
        const float4 low = quads[0], high = quads[1];
        s[r][0] = low.x, s[r][1] = low.y, s[r][2] = low.z, s[r][3] = low.w;
        s[r][4] = high.x, s[r][5] = high.y, s[r][6] = high.z, s[r][7] = high.w;
      }
    } else {
#pragma unroll
      for (int j = 0; j < kDeltaColumns; ++j) {
        if (store && j < columns) at[j] = s[r][j];
        if (!store) s[r][j] = j < columns ? at[j] : 0.0f;
      }
    }
  }
}

/// The fused step of one position. Grid [n_value_heads, slices of kDeltaBlockColumns].
template <int RowsPerLane>
__global__ void __launch_bounds__(kDeltaThreads) delta_step_kernel(DeltaStepArgs a) {
  __shared__ float q[kMostDeltaDim], k[kMostDeltaDim], v[kDeltaBlockColumns], scratch[32];
  const DeltaShape shape = a.shape;
  const int head = blockIdx.x, key_head = head / (shape.n_value_heads / shape.n_key_heads);
  const int slice0 = blockIdx.y * kDeltaBlockColumns, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int column0 = slice0 + warp * kDeltaColumns;
  const int columns = max(0, min(kDeltaColumns, shape.value_dim - column0));
  float* state = a.state + static_cast<std::int64_t>(head) * shape.key_dim * shape.value_dim;
  release_next();
  wait_for_previous();
  if (a.enabled != nullptr && *a.enabled == 0) return;
  // The state was written a whole step ago: its loads go out before anything is computed.
  float s[RowsPerLane][kDeltaColumns];
  move_state<RowsPerLane>(shape, state, column0, columns, false, s);

  const int position = *a.position, channels = shape.channels(), newest = position % shape.taps;
  const int q_at = key_head * shape.key_dim, k_at = shape.key_width() + q_at;
  const int v_at = 2 * shape.key_width() + head * shape.value_dim + slice0;
  const int v_count = min(kDeltaBlockColumns, shape.value_dim - slice0);
  float q_sum = 0.0f, k_sum = 0.0f;
  for (int i = threadIdx.x; i < shape.key_dim; i += blockDim.x) {
    q[i] = convolved(a, 0, position, q_at + i);
    k[i] = convolved(a, 0, position, k_at + i);
    q_sum += q[i] * q[i];
    k_sum += k[i] * k[i];
  }
  for (int i = threadIdx.x; i < v_count; i += blockDim.x) v[i] = convolved(a, 0, position, v_at + i);
  q_sum = block_sum(q_sum, scratch);
  k_sum = block_sum(k_sum, scratch);
  // Blocks that share a key head write the same values: nobody reads this ring row before the next position.
  for (int i = threadIdx.x; i < shape.key_dim; i += blockDim.x) {
    a.ring[newest * channels + q_at + i] = a.qkv[q_at + i];
    a.ring[newest * channels + k_at + i] = a.qkv[k_at + i];
  }
  for (int i = threadIdx.x; i < v_count; i += blockDim.x) a.ring[newest * channels + v_at + i] = a.qkv[v_at + i];
  if (columns == 0) return;
  const float q_scale = rsqrtf(q_sum + 1e-6f) * rsqrtf(static_cast<float>(shape.key_dim));
  const float k_scale = rsqrtf(k_sum + 1e-6f);
  float q_rows[RowsPerLane], k_rows[RowsPerLane];
#pragma unroll
  for (int r = 0; r < RowsPerLane; ++r) {
    const int row = lane + 32 * r;
    q_rows[r] = row < shape.key_dim ? q[row] * q_scale : 0.0f;
    k_rows[r] = row < shape.key_dim ? k[row] * k_scale : 0.0f;
  }
  delta_rule<RowsPerLane>(s, k_rows, q_rows, decay_of(a, 0, head), sigmoid(a.b[head]), v + warp * kDeltaColumns, columns,
                          a.out + head * shape.value_dim + column0);
  move_state<RowsPerLane>(shape, state, column0, columns, true, s);
}

}  // namespace pipo::cuda
