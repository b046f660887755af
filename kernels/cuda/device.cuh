#pragma once

#include <cmath>
#include <cstdint>

#ifdef __CUDACC__
#include <cuda_runtime.h>
#else
#include "kernels/cuda/emulation/simt.h"
#endif

/// What every kernel uses: launching, shared memory, warp sums, number formats. The same source compiles for the
/// device and, in tests, for the emulation.
namespace pipo::cuda {

constexpr unsigned kFullWarp = 0xffffffffu;
constexpr float kLog2E = 1.44269504f;

#ifdef __CUDACC__
using Stream = cudaStream_t;
#else
using Stream = void*;
#endif

/// How a kernel is launched. `overlap`: it may start while the kernel before it still runs (programmatic dependent
/// launch); every kernel calls wait_for_previous() before it reads what another one wrote.
struct Shape {
  dim3 grid, block;
  std::size_t shared_bytes = 0;
  Stream stream = {};
  bool overlap = false;
};

#ifdef __CUDACC__
template <class... P, class... A>
int launch(const Shape& s, void (*kernel)(P...), A... args) {
  constexpr std::size_t kWithoutAsking = 47 << 10;  // of 48, which static shared memory takes from too
  if (s.shared_bytes > kWithoutAsking) {
    const cudaError_t raised = cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                                    cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                    static_cast<int>(s.shared_bytes));
    if (raised != cudaSuccess) return static_cast<int>(raised);
  }
  cudaLaunchConfig_t config{};
  config.gridDim = s.grid;
  config.blockDim = s.block;
  config.dynamicSmemBytes = s.shared_bytes;
  config.stream = s.stream;
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  config.attrs = &attribute;
  config.numAttrs = s.overlap ? 1 : 0;
  return static_cast<int>(cudaLaunchKernelEx(&config, kernel, static_cast<P>(args)...));
}
#define PIPO_DYNAMIC_SHARED(name) extern __shared__ __align__(128) unsigned char name[]
#else
template <class... P, class... A>
int launch(const Shape& s, void (*kernel)(P...), A... args) {
  simt::submit(s.stream, [=] {
    simt::run(s.grid, s.block, s.shared_bytes, [&] { kernel(static_cast<P>(args)...); });
  });
  return 0;
}
#define PIPO_DYNAMIC_SHARED(name) unsigned char* const name = ::pipo::simt::dynamic_shared()
#endif

/// Lets the next kernel start its prologue; waits until the kernel before has ended and its writes are visible.
__device__ __forceinline__ void release_next() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
__device__ __forceinline__ void wait_for_previous() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/// A clock that all launches share, in nanoseconds; devices move it on in steps of up to a microsecond.
__device__ __forceinline__ std::uint64_t device_nanoseconds() {
#ifdef __CUDA_ARCH__
  std::uint64_t now;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now) : : "memory");
  return now;
#elif defined(__CUDACC__)
  return 0;
#else
  return simt::nanoseconds();
#endif
}

__device__ __forceinline__ void prefetch_l2(const void* at) {
#ifdef __CUDA_ARCH__
  asm volatile("prefetch.global.L2 [%0];" ::"l"(at));
#endif
}

/// 16 bytes of weights: read once per step, so they need not stay in the first-level cache.
__device__ __forceinline__ uint4 load_stream(const void* at) {
#ifdef __CUDA_ARCH__
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.L2::128B.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(at));
  return v;
#else
  return *static_cast<const uint4*>(at);
#endif
}

/// What another block of this launch has written: past the first-level cache.
__device__ __forceinline__ float load_l2(const float* at) {
#ifdef __CUDA_ARCH__
  float v;
  asm volatile("ld.global.cg.f32 %0, [%1];" : "=f"(v) : "l"(at) : "memory");
  return v;
#else
  return *at;
#endif
}

__device__ __forceinline__ float warp_sum(float v) {
#pragma unroll
  for (int mask = 16; mask > 0; mask /= 2) v += __shfl_xor_sync(kFullWarp, v, mask);
  return v;
}

/// Sum over a block of up to 1024 threads; `scratch` [32]. All threads get it. Starts and ends with a barrier.
__device__ __forceinline__ float block_sum(float v, float* scratch) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = (blockDim.x + 31) / 32;
  v = warp_sum(v);
  __syncthreads();
  if (lane == 0) scratch[warp] = v;
  __syncthreads();
  float sum = 0.0f;
  for (int i = 0; i < warps; ++i) sum += scratch[i];  // the same order in every thread
  __syncthreads();
  return sum;
}

/// True, in all threads, of the one of `count` blocks that comes here last: it sees what all of them wrote before. The
/// counter is zero again afterwards.
__device__ __forceinline__ bool last_to_arrive(unsigned* arrived, int count) {
  __shared__ bool last;
  __syncthreads();
  if (threadIdx.x == 0) {  // between barriers its fences speak for the whole block
    __threadfence();
    last = atomicAdd(arrived, 1u) == static_cast<unsigned>(count - 1);
    if (last) *arrived = 0;
    __threadfence();
  }
  __syncthreads();
  return last;
}

__device__ __forceinline__ float bf16_to_float(std::uint16_t x) {
  return __uint_as_float(static_cast<unsigned>(x) << 16);
}
__device__ __forceinline__ float bf16_low(unsigned pair) { return __uint_as_float(pair << 16); }
__device__ __forceinline__ float bf16_high(unsigned pair) { return __uint_as_float(pair & 0xffff0000u); }
/// To nearest even; NaN stays NaN.
__device__ __forceinline__ std::uint16_t float_to_bf16(float x) {
  const unsigned bits = __float_as_uint(x);
  if (x != x) return static_cast<std::uint16_t>((bits >> 16) | 0x40u);
  return static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

/// 2^x, to two units in the last place; 0 of minus infinity.
__device__ __forceinline__ float power_of_two(float x) {
#ifdef __CUDA_ARCH__
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return std::exp2(x);
#endif
}

/// 1 / x to a unit in the last place, for an x that is not tiny.
__device__ __forceinline__ float reciprocal(float x) {
#ifdef __CUDA_ARCH__
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return 1.0f / x;
#endif
}

__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }
__device__ __forceinline__ float silu(float x) { return x * sigmoid(x); }
__device__ __forceinline__ float softplus(float x) { return x > 20.0f ? x : log1pf(expf(x)); }

}  // namespace pipo::cuda
