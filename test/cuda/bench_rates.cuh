#pragma once

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/matrix_rate.cuh"

/// Kernels that measure the device itself, for shares of what it can do, and the costs of launches.
namespace pipo::test {

constexpr int kRateThreads = 256;

/// Words of two bf16 numbers; as bytes or nibbles they are of all kinds.
static __global__ void fill_words(unsigned* to, std::int64_t count) {
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step) {
    to[i] = cuda::scrambled_pair(static_cast<std::uint64_t>(i));
  }
}
/// Numbers around 0, up to `scale` away.
static __global__ void fill_floats(float* to, std::int64_t count, float scale) {
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step) {
    to[i] = scale * (static_cast<float>(cuda::scrambled(i)) * 0x1p-31f - 1.0f);
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
