#pragma once

#include "kernels/cuda/tensor_core.cuh"

/// A kernel that measures how fast the device multiplies matrices.
namespace pipo::cuda {

/// A number that follows from i alone, without pattern.
__device__ __forceinline__ unsigned scrambled(std::uint64_t i) {
  std::uint64_t x = (i + 1) * 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 31)) * 0xbf58476d1ce4e5b9ull;
  return static_cast<unsigned>(x >> 32);
}
/// Two bf16 numbers of either sign between 2^-7 and 2. Power, and so the clock, depends on what is multiplied.
__device__ __forceinline__ unsigned scrambled_pair(std::uint64_t i) {
  return (scrambled(i) & 0x83ff83ffu) | 0x3c003c00u;
}

constexpr int kMatrixThreads = 256;
constexpr int kMatrixSums = 8;  ///< independent products of a warp, so that none waits for the one before
#ifdef __CUDACC__
constexpr int kMatrixRounds = 4096, kMatrixLaunches = 16;
#else
constexpr int kMatrixRounds = 2, kMatrixLaunches = 1;  // emulated, where a rate says nothing
#endif

/// Nothing but products of bf16 on the tensor cores, out of registers: as fast as mma.sync goes on this device.
static __global__ void __launch_bounds__(kMatrixThreads, 2) matrix_kernel(float* found) {
  unsigned a[4], b[kMatrixSums][2];
#pragma unroll
  for (int i = 0; i < 4; ++i) a[i] = scrambled_pair(threadIdx.x * 4 + i);
#pragma unroll
  for (int j = 0; j < kMatrixSums; ++j) {
    b[j][0] = scrambled_pair(4096 + threadIdx.x * 16 + j);
    b[j][1] = b[j][0] ^ 0x80008000u;
  }
  float sums[kMatrixSums][4] = {};
  for (int round = 0; round < kMatrixRounds; ++round) {
#pragma unroll
    for (int j = 0; j < kMatrixSums; ++j) multiply_add(sums[j], a, b[j]);
  }
  float all = 0.0f;
#pragma unroll
  for (int j = 0; j < kMatrixSums; ++j) all += sums[j][0] + sums[j][1] + sums[j][2] + sums[j][3];
  if (all == 1.2345f) *found = all;
}
/// Multiplications and additions of one block of matrix_kernel.
constexpr double kMatrixBlockOps = 2.0 * 16 * 8 * 16 * kMatrixSums * kMatrixRounds * (kMatrixThreads / 32);

}  // namespace pipo::cuda
