#pragma once

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/layout.h"

/// y = W x for one position, bound by reading W. A warp owns a few rows and walks along k with 16 bytes per lane; the
/// input is prepared once per block (norm, gate, rounding to int8) and kept in shared memory. Several matrices that
/// share their input run as one launch. Blocks start on their weights before the kernel that makes x has ended.
namespace pipo::cuda {

constexpr int kGemvThreads = 256;
constexpr int kGemvWarps = kGemvThreads / 32;
constexpr int kGemvTerms = 4;

enum class Input : int {
  kPlain,      ///< x [k]
  kNorm,       ///< x rms(x) (1 + w), over all of k
  kPairNorm,   ///< [norm(x; w) ; norm(x2; w2)], k / 2 each
  kJointNorm,  ///< norm([x ; x2]; w), k / 2 each
  kGatedNorm,  ///< per head of `head_dim`: w x rms(x) SiLU(x2)
  kSiluProduct,  ///< SiLU(x) x2, of prepare_rows only: gemv has gate_up
};

struct GemvTerm {
  Matrix w;
  const float* bias = nullptr;
  float* y = nullptr;
  bool accumulate = false;
};

struct GemvArgs {
  GemvTerm terms[kGemvTerms];
  int n_terms = 0;
  Input input = Input::kPlain;
  const float* x = nullptr;
  const float* x2 = nullptr;
  const float* norm = nullptr;
  const float* norm2 = nullptr;
  std::int64_t x_stride = 0, y_stride = 0;  ///< between positions, one per blockIdx.y; x2's is x's, y's that of every term
  float eps = 1e-6f;
  int head_dim = 0;
  bool silu_output = false;
  bool gate_up = false;  ///< terms 0 and 1 are gate and up: y of term 0 = SiLU(gate) * up
  const int* enabled = nullptr;  ///< device word; 0: the kernel does nothing
};

/// Inputs in shared memory: floats as they are, in the order in which lanes read them without bank conflicts; or int8
/// with one scale and one zero-point correction per 32.
struct GemvShared {
  float* x;
  std::int8_t* q;
  float* scale;  // [k_padded / 32]
  int* sum8;     // [k_padded / 32], 8 * sum of q: int4 weights are stored with 8 added
};

__host__ __device__ inline std::size_t gemv_shared_bytes(int k_padded, bool quantised) {
  // The quantised path needs the floats first, and keeps its bytes behind them.
  return static_cast<std::size_t>(k_padded) * 4 + (quantised ? k_padded + static_cast<std::size_t>(k_padded) / 32 * 8 : 0);
}

/// Place of input i in shared memory. A lane of a bf16 row reads 8 floats as two times 4: two planes.
template <WeightType W>
__device__ __forceinline__ int input_place(int i, int k_padded) {
  if (W != WeightType::kBf16) return i;
  return (i & 4 ? k_padded / 2 : 0) + (i >> 3) * 4 + (i & 3);
}

template <WeightType W>
__device__ void prepare_input(const GemvArgs& a, int k, int k_padded, GemvShared s, float* scratch) {
  const float* x = a.x + blockIdx.y * a.x_stride;
  const float* x2 = a.x2 + blockIdx.y * a.x_stride;
  const int half = k / 2;
  float first = 1.0f, second = 1.0f;
  if (a.input == Input::kNorm) {
    float sum = 0.0f;
    for (int i = threadIdx.x; i < k; i += blockDim.x) sum += x[i] * x[i];
    first = rsqrtf(block_sum(sum, scratch) / k + a.eps);
  } else if (a.input == Input::kPairNorm || a.input == Input::kJointNorm) {
    float sum = 0.0f, sum2 = 0.0f;
    for (int i = threadIdx.x; i < half; i += blockDim.x) {
      sum += x[i] * x[i];
      sum2 += x2[i] * x2[i];
    }
    sum = block_sum(sum, scratch);
    sum2 = block_sum(sum2, scratch);
    if (a.input == Input::kPairNorm) {
      first = rsqrtf(sum / half + a.eps);
      second = rsqrtf(sum2 / half + a.eps);
    } else {
      first = second = rsqrtf((sum + sum2) / k + a.eps);
    }
  }
  const auto put = [&](int i, float v) { s.x[input_place<W>(i, k_padded)] = v; };
  if (a.input == Input::kGatedNorm) {
    const int lane = threadIdx.x % 32;
    for (int head = threadIdx.x / 32; head < k / a.head_dim; head += blockDim.x / 32) {
      const int at = head * a.head_dim;
      float sum = 0.0f;
      for (int i = lane; i < a.head_dim; i += 32) sum += x[at + i] * x[at + i];
      const float scale = rsqrtf(warp_sum(sum) / a.head_dim + a.eps);
      for (int i = lane; i < a.head_dim; i += 32) put(at + i, a.norm[i] * x[at + i] * scale * silu(x2[at + i]));
    }
  } else {
    for (int i = threadIdx.x; i < k; i += blockDim.x) {
      float v;
      if (a.input == Input::kPlain) v = x[i];
      else if (a.input == Input::kNorm) v = x[i] * first * (1.0f + a.norm[i]);
      else if (i < half) v = x[i] * first * (1.0f + a.norm[i]);
      else v = x2[i - half] * second * (1.0f + (a.input == Input::kPairNorm ? a.norm2[i - half] : a.norm[i]));
      put(i, v);
    }
  }
  for (int i = k + threadIdx.x; i < k_padded; i += blockDim.x) put(i, 0.0f);
  __syncthreads();
  if (!is_quantised(W)) return;
  // A warp rounds 32 inputs at a time, as the CPU kernels do.
  const int lane = threadIdx.x % 32;
  for (int block = threadIdx.x / 32; block < k_padded / 32; block += blockDim.x / 32) {
    const float v = s.x[block * 32 + lane];
    const float largest = warp_max(fabsf(v));
    const bool vanishes = largest < 1e-35f;
    const int q = vanishes ? 0 : __float2int_rn(v * (127.0f / largest));
    // Int4 lanes read inputs 0-15 and 16-31 of their 32 as two 16-byte loads: two planes, as above.
    const int place = W == WeightType::kInt4 ? (lane / 16) * (k_padded / 2) + block * 16 + lane % 16 : block * 32 + lane;
    s.q[place] = static_cast<std::int8_t>(q);
    int sum = q;
#pragma unroll
    for (int mask = 16; mask > 0; mask /= 2) sum += __shfl_xor_sync(kFullWarp, sum, mask);
    if (lane == 0) {
      s.scale[block] = vanishes ? 0.0f : largest / 127.0f;
      s.sum8[block] = 8 * sum;
    }
  }
  __syncthreads();
}

/// One lane's 16 bytes of weights times its inputs. `chunk` counts 16-byte pieces along the row.
template <WeightType W>
__device__ __forceinline__ float dot_chunk(uint4 w, float scale, const GemvShared& s, int chunk, int k_padded) {
  if constexpr (W == WeightType::kF32) {
    const float4 x = reinterpret_cast<const float4*>(s.x)[chunk];
    return __uint_as_float(w.x) * x.x + __uint_as_float(w.y) * x.y + __uint_as_float(w.z) * x.z +
           __uint_as_float(w.w) * x.w;
  } else if constexpr (W == WeightType::kBf16) {
    const float4 a = reinterpret_cast<const float4*>(s.x)[chunk];
    const float4 b = reinterpret_cast<const float4*>(s.x + k_padded / 2)[chunk];
    float sum = bf16_low(w.x) * a.x + bf16_high(w.x) * a.y;
    sum += bf16_low(w.y) * a.z + bf16_high(w.y) * a.w;
    sum += bf16_low(w.z) * b.x + bf16_high(w.z) * b.y;
    sum += bf16_low(w.w) * b.z + bf16_high(w.w) * b.w;
    return sum;
  } else if constexpr (W == WeightType::kInt8) {
    const uint4 x = reinterpret_cast<const uint4*>(s.q)[chunk];
    int sum = __dp4a(static_cast<int>(w.x), static_cast<int>(x.x), 0);
    sum = __dp4a(static_cast<int>(w.y), static_cast<int>(x.y), sum);
    sum = __dp4a(static_cast<int>(w.z), static_cast<int>(x.z), sum);
    sum = __dp4a(static_cast<int>(w.w), static_cast<int>(x.w), sum);
    return static_cast<float>(sum) * (scale * s.scale[chunk / 2]);
  } else {
    const uint4 low = reinterpret_cast<const uint4*>(s.q)[chunk];
    const uint4 high = reinterpret_cast<const uint4*>(s.q + k_padded / 2)[chunk];
    constexpr unsigned kNibbles = 0x0f0f0f0fu;
    int sum = -s.sum8[chunk];
    const auto add = [&](unsigned word, unsigned x_low, unsigned x_high) {
      sum = __dp4a(static_cast<int>(word & kNibbles), static_cast<int>(x_low), sum);
      sum = __dp4a(static_cast<int>((word >> 4) & kNibbles), static_cast<int>(x_high), sum);
    };
    add(w.x, low.x, high.x);
    add(w.y, low.y, high.y);
    add(w.z, low.z, high.z);
    add(w.w, low.w, high.w);
    return static_cast<float>(sum) * (scale * s.scale[chunk]);
  }
}

/// R rows per group of lanes; with gate_up they are R / 2 rows of each matrix.
template <WeightType W, int R>
__global__ void __launch_bounds__(kGemvThreads, R <= 2 ? 4 : 3) gemv_kernel(GemvArgs a) {
  PIPO_DYNAMIC_SHARED(shared);
  __shared__ float scratch[32];
  constexpr int kLanes = lanes_per_row(W), kPerWarp = 32 / kLanes, kUnroll = R >= 4 ? 1 : 4 / R;
  const int k = a.terms[0].w.k, k_padded = a.terms[0].w.k_padded;
  const int chunks = k_padded / inputs_per_lane(W), group = is_quantised(W) ? a.terms[0].w.group : 1;
  const int lane = threadIdx.x % kLanes, sub = threadIdx.x % 32 / kLanes;
  const int warp = blockIdx.x * kGemvWarps + threadIdx.x / 32, warps = gridDim.x * kGemvWarps;

  const int rows_each = a.gate_up ? R / 2 : R;  // of one matrix in one unit
  int total = 0;                                // units of kPerWarp row groups
  const int n_counted = a.gate_up ? 1 : a.n_terms;
  for (int t = 0; t < n_counted; ++t) total += (a.terms[t].w.n + rows_each * kPerWarp - 1) / (rows_each * kPerWarp);

  const std::uint8_t* row_at[R];
  const std::uint16_t* scale_at[R];
  int term = 0, row0 = 0;
  const auto locate = [&](int unit) {
    term = 0;
    for (; term + 1 < n_counted; ++term) {
      const int units = (a.terms[term].w.n + rows_each * kPerWarp - 1) / (rows_each * kPerWarp);
      if (unit < units) break;
      unit -= units;
    }
    row0 = (unit * kPerWarp + sub) * rows_each;
#pragma unroll
    for (int r = 0; r < R; ++r) {
      const Matrix& w = a.terms[a.gate_up && r >= R / 2 ? 1 : term].w;
      const int row = min(row0 + (a.gate_up ? r % (R / 2 > 0 ? R / 2 : 1) : r), w.n - 1);
      row_at[r] = w.rows + row * row_bytes(W, k_padded);
      scale_at[r] = is_quantised(W) ? w.scales + static_cast<std::int64_t>(row) * (k_padded / group) : nullptr;
    }
  };

  release_next();
  if (warp < total) {
    locate(warp);
#pragma unroll
    for (int r = 0; r < R; ++r) {
      for (int c = lane; c < chunks; c += kLanes) {
        if (lane % 8 == 0) prefetch_l2(row_at[r] + c * 16);
      }
    }
  }
  wait_for_previous();
  if (a.enabled != nullptr && *a.enabled == 0) return;

  GemvShared s;
  s.x = reinterpret_cast<float*>(shared);
  s.q = reinterpret_cast<std::int8_t*>(s.x + k_padded);
  s.scale = reinterpret_cast<float*>(s.q + k_padded);
  s.sum8 = reinterpret_cast<int*>(s.scale + k_padded / 32);
  prepare_input<W>(a, k, k_padded, s, scratch);

  for (int unit = warp; unit < total; unit += warps) {
    locate(unit);
    float sums[R] = {};
    for (int c0 = lane; c0 < chunks; c0 += kLanes * kUnroll) {
      uint4 w[kUnroll][R];
      float scale[kUnroll][R];
#pragma unroll
      for (int u = 0; u < kUnroll; ++u) {
        const int c = c0 + u * kLanes;
        if (c >= chunks) break;
#pragma unroll
        for (int r = 0; r < R; ++r) {
          w[u][r] = load_stream(row_at[r] + static_cast<std::int64_t>(c) * 16);
          if constexpr (is_quantised(W)) scale[u][r] = bf16_to_float(scale_at[r][c * inputs_per_lane(W) / group]);
          else scale[u][r] = 1.0f;
        }
      }
#pragma unroll
      for (int u = 0; u < kUnroll; ++u) {
        const int c = c0 + u * kLanes;
        if (c >= chunks) break;
#pragma unroll
        for (int r = 0; r < R; ++r) sums[r] += dot_chunk<W>(w[u][r], scale[u][r], s, c, k_padded);
      }
    }
#pragma unroll
    for (int r = 0; r < R; ++r) {
#pragma unroll
      for (int mask = kLanes / 2; mask > 0; mask /= 2) sums[r] += __shfl_xor_sync(kFullWarp, sums[r], mask);
    }
    if (lane != 0) continue;
    const GemvTerm& t = a.terms[term];
    float* y = t.y + blockIdx.y * a.y_stride;
    if (a.gate_up) {
      for (int r = 0; r < R / 2; ++r) {
        if (row0 + r < t.w.n) y[row0 + r] = silu(sums[r]) * sums[r + R / 2];
      }
      continue;
    }
#pragma unroll
    for (int r = 0; r < R; ++r) {
      const int row = row0 + r;
      if (row >= t.w.n) continue;
      float v = sums[r] + (t.bias != nullptr ? t.bias[row] : 0.0f);
      if (a.silu_output) v = silu(v);
      y[row] = t.accumulate ? y[row] + v : v;
    }
  }
}

}  // namespace pipo::cuda
