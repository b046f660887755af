#pragma once

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/layout.h"
#include "kernels/cuda/tensor_core.cuh"

/// Y = X W^T for many positions, on the tensor cores in bf16 with fp32 sums. X [m, k_padded] is bf16; weights are bf16
/// rows, or int8 and int4 ones that become bf16 on the way into shared memory: once per tile, for all its positions.
///
/// A block makes a 128 x 128 tile of Y with 8 warps of 64 x 32. Both inputs go through shared memory in tiles of 32
/// along k, three in flight; 16-byte pieces are placed so that reading fragments meets no bank twice.
namespace pipo::cuda {

constexpr int kGemmM = 128, kGemmN = 128, kGemmK = 32, kGemmStages = 3, kGemmThreads = 256;
constexpr int kGemmTileBytes = kGemmM * kGemmK * 2;
constexpr int kGemmSharedBytes = kGemmStages * 2 * kGemmTileBytes;

struct GemmArgs {
  const std::uint16_t* x = nullptr;  ///< [m, k_padded] bf16, zeros beyond k
  Matrix w;
  const float* bias = nullptr;
  float* y = nullptr;                ///< [m, y_stride] or null
  std::uint16_t* y_bf16 = nullptr;   ///< the same rounded, or null
  std::int64_t y_stride = 0;
  bool accumulate = false;           ///< adds to y
  bool silu_output = false;
  int m = 0;
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

/// 8 weights of a row from input k0 (a multiple of 8) on, as four words of bf16 pairs.
template <WeightType W>
__device__ __forceinline__ uint4 eight_weights(const Matrix& w, std::int64_t row, int k0) {
  const std::uint8_t* at = w.rows + row * row_bytes(W, w.k_padded);
  float v[8];
  const float scale = bf16_to_float(w.scales[row * (w.k_padded / w.group) + k0 / w.group]);
  if constexpr (W == WeightType::kInt8) {
    const uint2 q = *reinterpret_cast<const uint2*>(at + k0);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      v[i] = scale * static_cast<float>(static_cast<std::int8_t>(q.x >> (8 * i)));
      v[4 + i] = scale * static_cast<float>(static_cast<std::int8_t>(q.y >> (8 * i)));
    }
  } else {
    // Words 0...3 of 32 inputs hold inputs 4 j... in low and 16 + 4 j... in high nibbles.
    const uint2 q = *reinterpret_cast<const uint2*>(at + k0 / 32 * 16 + (k0 % 16) / 4 * 4);
    const int shift = k0 % 32 >= 16 ? 4 : 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      v[i] = scale * static_cast<float>(static_cast<int>(q.x >> (8 * i + shift) & 15u) - 8);
      v[4 + i] = scale * static_cast<float>(static_cast<int>(q.y >> (8 * i + shift) & 15u) - 8);
    }
  }
  return make_uint4(bf16_pair(v[0], v[1]), bf16_pair(v[2], v[3]), bf16_pair(v[4], v[5]), bf16_pair(v[6], v[7]));
}

/// Starts the copies of one tile of both inputs. Rows beyond the edge are read from the last one and never stored.
template <WeightType W>
__device__ __forceinline__ void load_tiles(const GemmArgs& a, int m0, int n0, int k0, unsigned char* x_tile,
                                           unsigned char* w_tile) {
#pragma unroll
  for (int i = 0; i < kGemmM * 4 / kGemmThreads; ++i) {
    const int index = threadIdx.x + i * kGemmThreads, row = index / 4, piece = index % 4;
    const std::int64_t x_row = min(m0 + row, a.m - 1), w_row = min(n0 + row, a.w.n - 1);
    copy_async(x_tile + tile_offset(row, piece), a.x + x_row * a.w.k_padded + k0 + piece * 8);
    if constexpr (W == WeightType::kBf16) {
      copy_async(w_tile + tile_offset(row, piece), a.w.rows + (w_row * a.w.k_padded + k0 + piece * 8) * 2);
    } else {
      *reinterpret_cast<uint4*>(w_tile + tile_offset(row, piece)) = eight_weights<W>(a.w, w_row, k0 + piece * 8);
    }
  }
}

/// Grid [tiles of n, tiles of m].
template <WeightType W>
__global__ void __launch_bounds__(kGemmThreads, 2) gemm_kernel(GemmArgs a) {
  PIPO_DYNAMIC_SHARED(shared);
  const int m0 = blockIdx.y * kGemmM, n0 = blockIdx.x * kGemmN, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int warp_m = warp / 4 * 64, warp_n = warp % 4 * 32, tiles = a.w.k_padded / kGemmK;
  const auto x_tile = [&](int t) { return shared + t % kGemmStages * 2 * kGemmTileBytes; };
  const auto w_tile = [&](int t) { return x_tile(t) + kGemmTileBytes; };
  wait_for_previous();
  float sums[4][4][4] = {};  // [16 rows][8 columns][fragment]
#pragma unroll
  for (int t = 0; t < kGemmStages - 1; ++t) {
    if (t < tiles) load_tiles<W>(a, m0, n0, t * kGemmK, x_tile(t), w_tile(t));
    commit_copies();
  }
  for (int t = 0; t < tiles; ++t) {
    wait_copies<kGemmStages - 2>();
    __syncthreads();
    if (t + kGemmStages - 1 < tiles) {
      const int next = t + kGemmStages - 1;
      load_tiles<W>(a, m0, n0, next * kGemmK, x_tile(next), w_tile(next));
    }
    commit_copies();
#pragma unroll
    for (int k = 0; k < kGemmK / 16; ++k) {
      unsigned x[4][4], w[2][4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        load_matrices(x[i], x_tile(t) + tile_offset(warp_m + i * 16 + lane % 16, k * 2 + lane / 16));
      }
#pragma unroll
      for (int j = 0; j < 2; ++j) {  // 16 columns: two 8 x 8 blocks for each half of k
        load_matrices(w[j], w_tile(t) + tile_offset(warp_n + j * 16 + lane % 8 + lane / 16 * 8, k * 2 + lane / 8 % 2));
      }
#pragma unroll
      for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) multiply_add(sums[i][j], x[i], w[j / 2] + j % 2 * 2);
      }
    }
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int row = m0 + warp_m + i * 16 + lane / 4 + e / 2 * 8, column = n0 + warp_n + j * 8 + lane % 4 * 2 + e % 2;
        if (row < a.m && column < a.w.n) put_result(a, row, column, sums[i][j][e]);
      }
    }
  }
}

}  // namespace pipo::cuda
