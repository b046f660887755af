#pragma once

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/tensor_core.cuh"

/// Kernels that measure the device itself, for shares of what it can do, and the costs of launches.
namespace pipo::test {

constexpr int kRateThreads = 256;

/// A number that follows from i alone, without pattern.
__device__ __forceinline__ unsigned scrambled(std::uint64_t i) {
  std::uint64_t x = (i + 1) * 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 31)) * 0xbf58476d1ce4e5b9ull;
  return static_cast<unsigned>(x >> 32);
}

/// Words of two bf16 numbers of either sign between 2^-7 and 2; as bytes or nibbles they are of all kinds. Power, and
/// so the clock, depends on what is multiplied.
static __global__ void fill_words(unsigned* to, std::int64_t count) {
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step) {
    to[i] = (scrambled(i) & 0x83ff83ffu) | 0x3c003c00u;
  }
}
/// Numbers around 0, up to `scale` away.
static __global__ void fill_floats(float* to, std::int64_t count, float scale) {
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step) {
    to[i] = scale * (static_cast<float>(scrambled(i)) * 0x1p-31f - 1.0f);
  }
}

/// Reads `count` pieces of 16 bytes. `found` is written only if a sum is 1, so that no read can be left out.
static __global__ void __launch_bounds__(kRateThreads)
    read_kernel(const uint4* from, std::int64_t count, unsigned* found) {
  constexpr int kInFlight = 8;
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * kRateThreads;
  std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kRateThreads + threadIdx.x;
  unsigned sum = 0;
  for (; i + (kInFlight - 1) * step < count; i += kInFlight * step) {
    uint4 piece[kInFlight];
#pragma unroll
    for (int j = 0; j < kInFlight; ++j) piece[j] = cuda::load_stream(from + i + j * step);
#pragma unroll
    for (int j = 0; j < kInFlight; ++j) sum ^= piece[j].x ^ piece[j].y ^ piece[j].z ^ piece[j].w;
  }
  for (; i < count; i += step) {
    const uint4 piece = cuda::load_stream(from + i);
    sum ^= piece.x ^ piece.y ^ piece.z ^ piece.w;
  }
  if (sum == 1) *found = sum;
}

constexpr int kMatrixSums = 8;  ///< independent products of a warp, so that none waits for the one before
constexpr int kMatrixRounds = 4096;

/// Nothing but products of bf16 on the tensor cores, out of registers: as fast as mma.sync goes on this device.
static __global__ void __launch_bounds__(kRateThreads, 2) matrix_kernel(float* found) {
  unsigned a[4], b[kMatrixSums][2];
#pragma unroll
  for (int i = 0; i < 4; ++i) a[i] = (scrambled(threadIdx.x * 4 + i) & 0x83ff83ffu) | 0x3c003c00u;
#pragma unroll
  for (int j = 0; j < kMatrixSums; ++j) {
    b[j][0] = (scrambled(4096 + threadIdx.x * 16 + j) & 0x83ff83ffu) | 0x3c003c00u;
    b[j][1] = b[j][0] ^ 0x80008000u;
  }
  float sums[kMatrixSums][4] = {};
  for (int round = 0; round < kMatrixRounds; ++round) {
#pragma unroll
    for (int j = 0; j < kMatrixSums; ++j) cuda::multiply_add(sums[j], a, b[j]);
  }
  float all = 0.0f;
#pragma unroll
  for (int j = 0; j < kMatrixSums; ++j) all += sums[j][0] + sums[j][1] + sums[j][2] + sums[j][3];
  if (all == 1.2345f) *found = all;
}
/// Multiplications and additions of one block of matrix_kernel.
constexpr double kMatrixBlockOps = 2.0 * 16 * 8 * 16 * kMatrixSums * kMatrixRounds * (kRateThreads / 32);

static __global__ void empty_kernel() {
  cuda::release_next();
  cuda::wait_for_previous();
}

/// One word to memory that the host sees, as a step publishes its tokens.
static __global__ void publish_kernel(volatile unsigned* seen_by_host, unsigned* counter) {
  cuda::release_next();
  cuda::wait_for_previous();
  __threadfence_system();
  *seen_by_host = ++*counter;
}

}  // namespace pipo::test
