#pragma once

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/layout.h"
#include "kernels/cuda/tensor_core.cuh"
#include "kernels/cuda/weight_pairs.cuh"

/// Y = X W^T for many positions, on the tensor cores in bf16 with fp32 sums. X [m, k_padded] is bf16; weights are bf16
/// rows, or int8 and int4 ones that become bf16 on the way into shared memory: once per tile, for all its positions.
///
/// A block makes a tile of Y, 128 or 64 positions by 128 rows of W, with 8 warps. Both inputs go through shared memory
/// in tiles of 32 along k, three in flight; 16-byte pieces are placed so that reading fragments meets no bank twice.
/// Where Y has few tiles, k is cut into slices, and the block that finishes last adds their sums up.
namespace pipo::cuda {

constexpr int kGemmM = 128, kGemmN = 128, kGemmK = 32, kGemmStages = 3, kGemmThreads = 256;
constexpr int gemm_outputs(bool gate_up) { return gate_up ? kGemmN / 2 : kGemmN; }  ///< of a tile, for a position
constexpr int gemm_stage_bytes(int rows) { return (rows + kGemmN) * kGemmK * 2; }

struct GemmArgs {
  const std::uint16_t* x = nullptr;  ///< [m, k_padded] bf16, zeros beyond k
  Matrix w;
  Matrix up;                         ///< where it has rows, of w's type and shape: y = SiLU(W x) * (Up x) instead
  const float* bias = nullptr;
  float* y = nullptr;                ///< [m, y_stride] or null
  std::uint16_t* y_bf16 = nullptr;   ///< the same rounded, or null
  std::int64_t y_stride = 0;
  bool accumulate = false;           ///< adds to y
  bool silu_output = false;
  int y_bf16_columns = 0;  ///< y_bf16 is zero beyond w.n up to here, so that a product can read it
  int m = 0;
};

/// Zeros behind the outputs of `rows` positions from `first` on.
__device__ __forceinline__ void pad_outputs(const GemmArgs& a, int first, int rows) {
  const int width = a.y_bf16_columns - a.w.n;
  if (a.y_bf16 == nullptr || width <= 0) return;
  for (int i = threadIdx.x; i < min(rows, a.m - first) * width; i += blockDim.x) {
    a.y_bf16[(first + i / width) * a.y_stride + a.w.n + i % width] = 0;
  }
}

/// How k is cut: grid [tiles of n, tiles of m, slices].
struct GemmPlan {
  int slices = 1, tiles = 0;    ///< tiles of k in one slice
  float* partials = nullptr;    ///< [slices, tiles of Y, sums of a tile], where there are several slices
  unsigned* arrived = nullptr;  ///< [tiles of Y], zero between launches
};

/// What becomes of a sum: output `column` of position `row`.
__device__ __forceinline__ void put_result(const GemmArgs& a, int row, int column, float v) {
  if (a.bias != nullptr) v += a.bias[column];
  if (a.silu_output) v = silu(v);
  const std::int64_t at = row * a.y_stride + column;
  if (a.y != nullptr) v = a.y[at] = a.accumulate ? a.y[at] + v : v;
  if (a.y_bf16 != nullptr) a.y_bf16[at] = float_to_bf16(v);
}

/// Byte offset of the 16-byte piece `piece` (0...3) of row `row` in a tile of 64-byte rows. Eight neighbouring rows at
/// one piece fall on eight different groups of four banks.
__device__ __forceinline__ int tile_offset(int row, int piece) {
  return row * (kGemmK * 2) + ((piece ^ ((row >> 1) & 3)) * 16);
}

/// Row `row` of a tile of W whose outputs start at n0: with GateUp eight rows of W and of Up in turn, so that one
/// thread gets both sums of an output. Rows beyond the last are read from it and never stored.
struct WeightRow {
  const std::uint8_t* rows;
  const std::uint16_t* scales;
  std::int64_t index;
};
template <bool GateUp>
__device__ __forceinline__ WeightRow weight_row(const GemmArgs& a, int n0, int row) {
  const Matrix& w = GateUp && row / 8 % 2 == 1 ? a.up : a.w;
  return {w.rows, w.scales, min(n0 + (GateUp ? row / 16 * 8 + row % 8 : row), w.n - 1)};
}

/// A thread's share of a tile of quantised weights: 16 inputs of one row, from when they are asked for until they are
/// put into shared memory as bf16, while the products of another tile are made.
template <WeightType W, bool GateUp>
struct HeldWeights {
  uint4 q;
  unsigned scale;

  __device__ __forceinline__ void load(const GemmArgs& a, int n0, int k0) {
    const int half = threadIdx.x % 2, shift = a.w.group == 32 ? 5 : 6;
    const WeightRow row = weight_row<GateUp>(a, n0, threadIdx.x / 2);
    const std::uint8_t* at = row.rows + row.index * row_bytes(W, a.w.k_padded);
    if constexpr (W == WeightType::kInt8) {
      q = *reinterpret_cast<const uint4*>(at + k0 + half * 16);
    } else {
      const uint2 words = *reinterpret_cast<const uint2*>(at + k0 / 2 + half * 8);
      q = make_uint4(words.x, words.y, 0, 0);
    }
    scale = row.scales[row.index * (a.w.k_padded >> shift) + (k0 >> shift)];
  }

  __device__ __forceinline__ void store(unsigned char* tile) const {
    const int row = threadIdx.x / 2, half = threadIdx.x % 2;
    const float whole = bf16_to_float(static_cast<std::uint16_t>(scale)) * kShrunk;
    const unsigned s = bf16_pair(whole, whole);
    const auto put = [&](int piece, uint2 low, uint2 high) {
      *reinterpret_cast<uint4*>(tile + tile_offset(row, piece)) = make_uint4(low.x, low.y, high.x, high.y);
    };
    if constexpr (W == WeightType::kInt8) {
      const auto four = [&](unsigned word) {
        word ^= 0x80808080u;
        return in_order(byte_pair(word), byte_pair(word >> 8), s);
      };
      put(half * 2, four(q.x), four(q.y));
      put(half * 2 + 1, four(q.z), four(q.w));
    } else {
      // Two words hold 8 inputs in their low nibbles and the 8 that lie 16 further on in the high ones.
      const auto low = [&](unsigned word) { return in_order(low_nibble_pair(word), low_nibble_pair(word >> 8), s); };
      const auto high = [&](unsigned word) { return in_order(high_nibble_pair(word), high_nibble_pair(word >> 8), s); };
      put(half, low(q.x), low(q.y));
      put(half + 2, high(q.x), high(q.y));
    }
  }
};

/// Starts the copies of a tile of `Rows` rows of bf16 from input k0 on; at(row): where a row starts.
template <int Rows, class At>
__device__ __forceinline__ void copy_tile(int k0, unsigned char* tile, At at) {
#pragma unroll
  for (int i = 0; i < Rows * 4 / kGemmThreads; ++i) {
    const int index = threadIdx.x + i * kGemmThreads, row = index / 4, piece = index % 4;
    copy_async(tile + tile_offset(row, piece), at(row) + k0 + piece * 8);
  }
}

/// Adds one tile's products to a warp's `sums`: Fragments x 16 positions, 32 rows of W.
template <int Fragments>
__device__ __forceinline__ void multiply_tile(const unsigned char* x_tile, const unsigned char* w_tile, int warp_m,
                                              int warp_n, float (&sums)[Fragments][4][4]) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int k = 0; k < kGemmK / 16; ++k) {
    unsigned x[Fragments][4], w[2][4];
#pragma unroll
    for (int i = 0; i < Fragments; ++i) {
      load_matrices(x[i], x_tile + tile_offset(warp_m + i * 16 + lane % 16, k * 2 + lane / 16));
    }
#pragma unroll
    for (int j = 0; j < 2; ++j) {  // 16 columns: two 8 x 8 blocks for each half of k
      load_matrices(w[j], w_tile + tile_offset(warp_n + j * 16 + lane % 8 + lane / 16 * 8, k * 2 + lane / 8 % 2));
    }
#pragma unroll
    for (int i = 0; i < Fragments; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) multiply_add(sums[i][j], x[i], w[j / 2] + j % 2 * 2);
    }
  }
}

/// Leaves a block's sums of its slice; true in the block that came last, whose `sums` are then those of all slices.
template <int Fragments>
__device__ __forceinline__ bool join_slices(const GemmPlan& p, float (&sums)[Fragments][4][4]) {
  constexpr int kSums = Fragments * 16;
  const int tile = blockIdx.y * gridDim.x + blockIdx.x, tiles = gridDim.x * gridDim.y;
  const auto at = [&](int slice, int i) {
    return p.partials + ((static_cast<std::int64_t>(slice) * tiles + tile) * kSums + i) * kGemmThreads + threadIdx.x;
  };
#pragma unroll
  for (int i = 0; i < kSums; ++i) *at(blockIdx.z, i) = sums[i / 16][i / 4 % 4][i % 4];
  if (!last_to_arrive(p.arrived + tile, p.slices)) return false;
#pragma unroll
  for (int i = 0; i < kSums; ++i) sums[i / 16][i / 4 % 4][i % 4] = 0.0f;
  for (int s = 0; s < p.slices; ++s) {
#pragma unroll
    for (int i = 0; i < kSums; ++i) sums[i / 16][i / 4 % 4][i % 4] += load_l2(at(s, i));
  }
  return true;
}

template <WeightType W, int Rows, bool GateUp>
__global__ void __launch_bounds__(kGemmThreads, 2) gemm_kernel(GemmArgs a, GemmPlan p) {
  PIPO_DYNAMIC_SHARED(shared);
  constexpr int kFragments = Rows / 32, kStageBytes = gemm_stage_bytes(Rows);
  const int m0 = blockIdx.y * Rows, n0 = blockIdx.x * gemm_outputs(GateUp);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int warp_m = warp / 4 * (Rows / 2), warp_n = warp % 4 * 32, first = blockIdx.z * p.tiles;
  const int tiles = min(p.tiles, (a.w.k + kGemmK - 1) / kGemmK - first);
  const auto x_tile = [&](int t) { return shared + t % kGemmStages * kStageBytes; };
  const auto w_tile = [&](int t) { return x_tile(t) + Rows * kGemmK * 2; };
  HeldWeights<W, GateUp> held;
  const auto start = [&](int t) {
    if (t < tiles) {
      const int k0 = (first + t) * kGemmK;
      const std::int64_t pitch = a.w.k_padded;
      copy_tile<Rows>(k0, x_tile(t), [&](int row) { return a.x + min(m0 + row, a.m - 1) * pitch; });
      if constexpr (is_quantised(W)) {
        held.load(a, n0, k0);
      } else {
        copy_tile<kGemmN>(k0, w_tile(t), [&](int row) {
          const WeightRow from = weight_row<GateUp>(a, n0, row);
          return reinterpret_cast<const std::uint16_t*>(from.rows) + from.index * pitch;
        });
      }
    }
    commit_copies();
  };
  const auto settle = [&](int t) {
    if constexpr (is_quantised(W)) {
      if (t < tiles) held.store(w_tile(t));
    }
  };
  release_next();
  wait_for_previous();
  float sums[kFragments][4][4] = {};  // [16 rows][8 columns][fragment]
#pragma unroll
  for (int t = 0; t < kGemmStages - 1; ++t) {
    start(t);
    settle(t);
  }
  for (int t = 0; t < tiles; ++t) {
    wait_copies<kGemmStages - 2>();
    __syncthreads();
    start(t + kGemmStages - 1);
    multiply_tile(x_tile(t), w_tile(t), warp_m, warp_n, sums);
    settle(t + kGemmStages - 1);
  }
  if (p.slices > 1 && !join_slices(p, sums)) return;
  constexpr int kEach = GateUp ? 2 : 1;
#pragma unroll
  for (int i = 0; i < kFragments; ++i) {
#pragma unroll
    for (int j = 0; j < 4; j += kEach) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int row = m0 + warp_m + i * 16 + lane / 4 + e / 2 * 8;
        const int column = n0 + (warp_n + j * 8) / kEach + lane % 4 * 2 + e % 2;
        const float v = GateUp ? silu(sums[i][j][e]) * sums[i][j + kEach - 1][e] : sums[i][j][e];
        if (row < a.m && column < a.w.n) put_result(a, row, column, v);
      }
    }
  }
  if (blockIdx.x == gridDim.x - 1) pad_outputs(a, m0, Rows);
}

}  // namespace pipo::cuda
