#pragma once

#include "kernels/cuda/device.cuh"

/// The few instructions of the tensor cores and their copies, sm_80 and newer, each with its meaning spelled out for
/// the emulation.
namespace pipo::cuda {

__device__ __forceinline__ unsigned bf16_pair(float low, float high) {
#ifdef __CUDA_ARCH__
  unsigned pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
#else
  return float_to_bf16(low) | static_cast<unsigned>(float_to_bf16(high)) << 16;
#endif
}

/// Copies 16 bytes from global to shared memory in the background.
__device__ __forceinline__ void copy_async(void* shared, const void* global) {
#ifdef __CUDA_ARCH__
  const auto at = static_cast<unsigned>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16;" ::"r"(at), "l"(global) : "memory");
#elif !defined(__CUDACC__)
  simt::copy_async(shared, global, 16);
#endif
}
/// Copies 4 bytes likewise.
__device__ __forceinline__ void copy_async_word(void* shared, const void* global) {
#ifdef __CUDA_ARCH__
  const auto at = static_cast<unsigned>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(at), "l"(global) : "memory");
#elif !defined(__CUDACC__)
  simt::copy_async(shared, global, 4);
#endif
}
__device__ __forceinline__ void commit_copies() {
#ifdef __CUDA_ARCH__
  asm volatile("cp.async.commit_group;" ::: "memory");
#elif !defined(__CUDACC__)
  simt::commit_copies();
#endif
}
/// Until at most Pending groups are still under way.
template <int Pending>
__device__ __forceinline__ void wait_copies() {
#ifdef __CUDA_ARCH__
  asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
#elif !defined(__CUDACC__)
  simt::wait_copies(Pending);
#endif
}

/// Four 8 x 8 matrices of bf16; lane l gives the address of row l % 8 of matrix l / 8, and gets of each matrix the two
/// elements 2 (l % 4) and the next of row l / 4.
__device__ __forceinline__ void load_matrices(unsigned (&to)[4], const void* row) {
#ifdef __CUDA_ARCH__
  const auto at = static_cast<unsigned>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(at) : "memory");
#else
  const int lane = threadIdx.x % 32;
  for (int i = 0; i < 4; ++i) {
    const auto bits = __shfl_sync(kFullWarp, reinterpret_cast<std::uintptr_t>(row), i * 8 + lane / 4);
    to[i] = reinterpret_cast<const unsigned*>(bits)[lane % 4];
  }
#endif
}

/// The same with each matrix turned: lane l gets the elements 2 (l % 4) and the next of column l / 4.
__device__ __forceinline__ void load_matrices_turned(unsigned (&to)[4], const void* row) {
#ifdef __CUDA_ARCH__
  const auto at = static_cast<unsigned>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(at) : "memory");
#else
  const int lane = threadIdx.x % 32;
  for (int i = 0; i < 4; ++i) {
    to[i] = 0;
    for (int e = 0; e < 2; ++e) {
      const auto bits = __shfl_sync(kFullWarp, reinterpret_cast<std::uintptr_t>(row), i * 8 + lane % 4 * 2 + e);
      to[i] |= static_cast<unsigned>(reinterpret_cast<const std::uint16_t*>(bits)[lane / 4]) << (16 * e);
    }
  }
#endif
}

/// d [16, 8] += a [16, 16] b [16, 8], bf16 in, fp32 out. Lane l holds of a: rows l / 4 and 8 more, columns 2 (l % 4) and
/// 8 more; of b: rows 2 (l % 4) and 8 more of column l / 4; of d: rows l / 4 and 8 more, columns 2 (l % 4) and the next.
__device__ __forceinline__ void multiply_add(float (&d)[4], const unsigned (&a)[4], const unsigned* b) {
#ifdef __CUDA_ARCH__
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#elif !defined(__CUDACC__)
  struct Held {
    const unsigned *a, *b;
  } mine{a, b};
  const std::uint64_t* warp = simt::publish(reinterpret_cast<std::uintptr_t>(&mine));
  const auto held = [&](int lane) { return *reinterpret_cast<const Held*>(warp[lane]); };
  const int lane = simt::lane();
  for (int k = 0; k < 8; ++k) {  // words of two
    const int from = k % 4, upper = k / 4;
    const unsigned* rows = held(lane / 4 * 4 + from).a + upper * 2;
    for (int column = 0; column < 2; ++column) {
      const unsigned w = held((lane % 4 * 2 + column) * 4 + from).b[upper];
      d[column] += bf16_low(rows[0]) * bf16_low(w) + bf16_high(rows[0]) * bf16_high(w);
      d[2 + column] += bf16_low(rows[1]) * bf16_low(w) + bf16_high(rows[1]) * bf16_high(w);
    }
  }
  simt::sync_warp();
#endif
}

/// What added to a float's bits makes its upper 19, all that the tensor cores read of a tf32, the nearest ones.
constexpr unsigned kTf32Half = 0x1000u;
__device__ __forceinline__ unsigned rounded_tf32(float x) { return __float_as_uint(x) + kTf32Half; }

/// d [16, 8] += a [16, 8] b [8, 8], tf32 in, fp32 out. Lane l holds of a: rows l / 4 and 8 more of column l % 4, then of
/// 4 more; of b: rows l % 4 and 4 more of column l / 4; of d: rows l / 4 and 8 more, columns 2 (l % 4) and the next.
__device__ __forceinline__ void multiply_add_tf32(float (&d)[4], const unsigned (&a)[4], uint2 b) {
#ifdef __CUDA_ARCH__
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b.x), "r"(b.y));
#elif !defined(__CUDACC__)
  struct Held {
    const unsigned* a;
    unsigned b[2];
  } mine{a, {b.x, b.y}};
  const std::uint64_t* warp = simt::publish(reinterpret_cast<std::uintptr_t>(&mine));
  const auto held = [&](int lane) -> const Held& { return *reinterpret_cast<const Held*>(warp[lane]); };
  const auto read = [](unsigned bits) { return __uint_as_float(bits & 0xffffe000u); };
  const int lane = simt::lane();
  for (int k = 0; k < 8; ++k) {
    const int from = k % 4, upper = k / 4;
    const unsigned* rows = held(lane / 4 * 4 + from).a + upper * 2;
    for (int column = 0; column < 2; ++column) {
      const float w = read(held((lane % 4 * 2 + column) * 4 + from).b[upper]);
      d[column] += read(rows[0]) * w;
      d[2 + column] += read(rows[1]) * w;
    }
  }
  simt::sync_warp();
#endif
}

}  // namespace pipo::cuda
