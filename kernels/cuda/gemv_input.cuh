#pragma once

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/layout.h"

/// What a product of one position is asked for, and its input on the way into shared memory: normed or gated, and
/// rounded to int8 for quantised weights as the CPU kernels round it. Every block does it for itself, so it is short:
/// each thread takes four neighbouring inputs at a time.
namespace pipo::cuda {

constexpr int kGemvTerms = 4;

enum class Input : int {
  kPlain,        ///< x [k]
  kNorm,         ///< x rms(x) w, over all of k
  kPairNorm,     ///< [norm(x; w) ; norm(x2; w2)], k / 2 each
  kJointNorm,    ///< norm([x ; x2]; w), k / 2 each
  kGatedNorm,    ///< per head of `head_dim`: w x rms(x) SiLU(x2)
  kSiluProduct,  ///< SiLU(x) x2, of prepare_rows only: gemv has gate_up
};

constexpr int kLeastGatedHead = 16;  ///< heads of kGatedNorm are multiples of it

struct GemvTerm {
  Matrix w;
  const float* bias = nullptr;
  float* y = nullptr;
  bool accumulate = false;
};

struct GemvArgs {
  GemvTerm terms[kGemvTerms];  ///< of one type, or of fp32 beside one other
  int n_terms = 0;
  int n_side = 0;  ///< gemv's own: terms of fp32 behind `n_terms` others
  Input input = Input::kPlain;  ///< k, or its halves, is a multiple of 4; what is read lies at multiples of 16 bytes
  const float* x = nullptr;
  const float* x2 = nullptr;
  const float* norm = nullptr;
  const float* norm2 = nullptr;
  std::int64_t x_stride = 0;  ///< of x and x2, between positions, one per blockIdx.y
  std::int64_t y_stride = 0;  ///< of every term's y
  float eps = 1e-6f;
  int head_dim = 0;  ///< a multiple of kLeastGatedHead
  bool silu_output = false;
  bool gate_up = false;  ///< terms 0 and 1 are gate and up: y of term 0 = SiLU(gate) * up
  const int* enabled = nullptr;  ///< device word; 0: the kernel does nothing
  /// Whether weights are asked for before the kernel before has ended: not where `enabled` is likely to be 0. They must
  /// have been in place before that kernel was started.
  bool ahead = true;
};

/// What 32 inputs rounded to int8 have in common.
struct alignas(8) RoundedBlock {
  float scale;
  int less;  ///< -8 times their sum: int4 weights are stored with 8 added
};

/// Inputs in shared memory: floats in the order in which lanes read them without bank conflicts, or int8.
struct GemvShared {
  float* plain;  ///< all inputs as floats; for quantised weights only where rows of fp32 are beside them
  std::int8_t* q;
  RoundedBlock* blocks;  ///< [k_padded / 32]
  float* factors;        ///< of kGatedNorm: 1 / rms of each head
};

__host__ __device__ inline std::size_t gemv_input_bytes(int k_padded, bool quantised, bool sides) {
  const std::size_t k = static_cast<std::size_t>(k_padded);
  const std::size_t rounded = quantised ? k + k / 32 * sizeof(RoundedBlock) : 0;
  return rounded + k / kLeastGatedHead * 4 + (!quantised || sides ? k * 4 : 0);
}

__device__ __forceinline__ GemvShared gemv_shared(unsigned char* at, int k_padded, bool quantised) {
  GemvShared s;
  s.q = reinterpret_cast<std::int8_t*>(at);
  s.blocks = reinterpret_cast<RoundedBlock*>(at + (quantised ? k_padded : 0));
  s.factors = reinterpret_cast<float*>(s.blocks + (quantised ? k_padded / 32 : 0));
  s.plain = s.factors + k_padded / kLeastGatedHead;
  return s;
}

/// Where input i, a multiple of 4, is among the floats. A lane of a bf16 row reads 8 as two times 4: two planes.
template <WeightType W>
__device__ __forceinline__ int plain_place(int i, int k_padded) {
  return W == WeightType::kBf16 ? (i & 4 ? k_padded / 2 : 0) + (i >> 3) * 4 : i;
}

__device__ __forceinline__ float4 load_quad(const float* p, int i) { return *reinterpret_cast<const float4*>(p + i); }
__device__ __forceinline__ float squares(float4 v) { return v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w; }

/// What is known of the whole input before its elements are prepared.
struct InputScales {
  float first = 1.0f, second = 1.0f;  ///< 1 / rms of x and x2
};

__device__ __forceinline__ InputScales measure_input(const GemvArgs& a, const float* x, const float* x2, int k,
                                                     const GemvShared& s, float* scratch) {
  InputScales scales;
  const int half = k / 2, from = threadIdx.x * 4, step = blockDim.x * 4;
  if (a.input == Input::kNorm) {
    float sum = 0.0f;
    for (int i = from; i < k; i += step) sum += squares(load_quad(x, i));
    scales.first = rsqrtf(block_sum(sum, scratch) / k + a.eps);
  } else if (a.input == Input::kPairNorm || a.input == Input::kJointNorm) {
    float sum = 0.0f, sum2 = 0.0f;
    for (int i = from; i < half; i += step) {
      sum += squares(load_quad(x, i));
      sum2 += squares(load_quad(x2, i));
    }
    sum = block_sum(sum, scratch);
    sum2 = block_sum(sum2, scratch);
    const bool joint = a.input == Input::kJointNorm;
    scales.first = rsqrtf((joint ? (sum + sum2) / k : sum / half) + a.eps);
    scales.second = joint ? scales.first : rsqrtf(sum2 / half + a.eps);
  } else if (a.input == Input::kGatedNorm) {
    const int lane = threadIdx.x % 32;
    for (int head = threadIdx.x / 32; head < k / a.head_dim; head += blockDim.x / 32) {
      float sum = 0.0f;
      for (int i = lane * 4; i < a.head_dim; i += 128) sum += squares(load_quad(x, head * a.head_dim + i));
      sum = warp_sum(sum);
      if (lane == 0) s.factors[head] = rsqrtf(sum / a.head_dim + a.eps);
    }
    __syncthreads();
  }
  return scales;
}

/// Inputs i...i + 3.
__device__ __forceinline__ float4 input_quad(const GemvArgs& a, const float* x, const float* x2, int k, int i,
                                             const InputScales& scales, const GemvShared& s) {
  if (a.input == Input::kPlain) return load_quad(x, i);
  if (a.input == Input::kGatedNorm) {
    const float4 v = load_quad(x, i), gate = load_quad(x2, i), w = load_quad(a.norm, i % a.head_dim);
    const float f = s.factors[i / a.head_dim];
    return make_float4(w.x * v.x * f * silu(gate.x), w.y * v.y * f * silu(gate.y), w.z * v.z * f * silu(gate.z),
                       w.w * v.w * f * silu(gate.w));
  }
  const bool second = a.input != Input::kNorm && i >= k / 2;
  const int at = second ? i - k / 2 : i;
  const float4 v = load_quad(second ? x2 : x, at);
  const bool own_norm = second && a.input == Input::kPairNorm;
  const float4 w = load_quad(own_norm ? a.norm2 : a.norm, own_norm ? at : i);
  const float f = second ? scales.second : scales.first;
  return make_float4(v.x * f * w.x, v.y * f * w.y, v.z * f * w.z, v.w * f * w.w);
}

/// Rounds a block of 32 inputs, four to each of eight lanes, and leaves it where lanes read it.
template <WeightType W>
__device__ __forceinline__ void put_rounded(const GemvShared& s, int i, int k_padded, float4 v) {
  float largest = fmaxf(fmaxf(fabsf(v.x), fabsf(v.y)), fmaxf(fabsf(v.z), fabsf(v.w)));
#pragma unroll
  for (int mask = 4; mask > 0; mask /= 2) largest = fmaxf(largest, __shfl_xor_sync(kFullWarp, largest, mask));
  const bool vanishes = largest < 1e-35f;
  const float up = vanishes ? 0.0f : 127.0f / largest;
  const auto byte = [&](float f) { return static_cast<unsigned>(__float2int_rn(f * up)) & 0xffu; };
  const unsigned word = byte(v.x) | byte(v.y) << 8 | byte(v.z) << 16 | byte(v.w) << 24;
  int sum = __dp4a(static_cast<int>(word), 0x01010101, 0);
#pragma unroll
  for (int mask = 4; mask > 0; mask /= 2) sum += __shfl_xor_sync(kFullWarp, sum, mask);
  // Int4 lanes read inputs 0-15 and 16-31 of their 32 as two 16-byte loads: two planes.
  const int block = i / 32, place = W == WeightType::kInt4 ? i % 32 / 16 * (k_padded / 2) + block * 16 + i % 16 : i;
  *reinterpret_cast<unsigned*>(s.q + place) = word;
  if (i % 32 == 0) s.blocks[block] = {vanishes ? 0.0f : largest / 127.0f, -8 * sum};
}

/// The input of position blockIdx.y; zeros beyond k. Ends with a barrier.
template <WeightType W>
__device__ __forceinline__ void prepare_input(const GemvArgs& a, int k, int k_padded, const GemvShared& s,
                                              float* scratch) {
  const float *x = a.x + blockIdx.y * a.x_stride, *x2 = a.x2 + blockIdx.y * a.x_stride;
  const InputScales scales = measure_input(a, x, x2, k, s, scratch);
  for (int i = threadIdx.x * 4; i < k_padded; i += blockDim.x * 4) {  // k_padded is whole warps of quads
    const float4 v = i < k ? input_quad(a, x, x2, k, i, scales, s) : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    if (!is_quantised(W) || a.n_side > 0) *reinterpret_cast<float4*>(s.plain + plain_place<W>(i, k_padded)) = v;
    if constexpr (is_quantised(W)) put_rounded<W>(s, i, k_padded, v);
  }
  __syncthreads();
}

}  // namespace pipo::cuda
