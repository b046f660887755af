#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>

/// Runs device code on the processor, for tests where there is no GPU: every thread of a block is a fiber, blocks run
/// one after another, and warp operations exchange values between the fibers. It shows wrong arithmetic and wrong
/// indices; it cannot show races between blocks, speed, or what only the compiler for the device does.
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __shared__ static
#define __launch_bounds__(...)

struct dim3 {
  unsigned x, y, z;
  dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
struct alignas(8) uint2 { unsigned x, y; };
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

namespace pipo::simt {

constexpr int kWarp = 32;

struct Thread {
  dim3 thread, block, block_size, grid_size;
};
Thread& self();
unsigned char* dynamic_shared();
void sync_block();
void sync_warp();
/// Leaves `value` for the warp and returns the one of lane `from`.
std::uint64_t exchange(std::uint64_t value, int from);
/// What every lane of the warp has published, until the next sync_warp.
const std::uint64_t* publish(std::uint64_t value);
int lane();
/// Asynchronous copies of the calling thread: at the latest when it waits for their group, now and then at once.
void copy_async(void* to, const void* from, int bytes);
void commit_copies();
void wait_copies(int pending);
/// Runs `body` once for each thread of each block.
void run(dim3 grid, dim3 block, std::size_t shared_bytes, const std::function<void()>& body);
/// Runs `work` now, or keeps it where `stream` is recording a graph. Null: the default stream, which never records.
void submit(void* stream, std::function<void()> work);
/// Of a clock that only moves forward.
std::uint64_t nanoseconds();

template <class T>
T exchanged(T value, int from) {
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  bits = exchange(bits, from);
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

}  // namespace pipo::simt

#define threadIdx (::pipo::simt::self().thread)
#define blockIdx (::pipo::simt::self().block)
#define blockDim (::pipo::simt::self().block_size)
#define gridDim (::pipo::simt::self().grid_size)

inline void __syncthreads() { pipo::simt::sync_block(); }
inline void __syncwarp() { pipo::simt::sync_warp(); }
inline void __threadfence() {}
inline void __threadfence_system() {}
template <class T>
T __shfl_xor_sync(unsigned, T value, int mask) {
  return pipo::simt::exchanged(value, pipo::simt::lane() ^ mask);
}
template <class T>
T __shfl_up_sync(unsigned, T value, int delta) {
  const int from = pipo::simt::lane() - delta;
  return pipo::simt::exchanged(value, from < 0 ? pipo::simt::lane() : from);
}
template <class T>
T __shfl_sync(unsigned, T value, int from) {
  return pipo::simt::exchanged(value, from);
}
inline unsigned __ballot_sync(unsigned, int holds) {
  const std::uint64_t* warp = pipo::simt::publish(holds != 0);
  unsigned bits = 0;
  for (int i = 0; i < pipo::simt::kWarp; ++i) bits |= static_cast<unsigned>(warp[i]) << i;
  pipo::simt::sync_warp();
  return bits;
}
inline int __ffs(int x) { return x == 0 ? 0 : __builtin_ctz(static_cast<unsigned>(x)) + 1; }
inline int __any_sync(unsigned mask, int holds) { return __ballot_sync(mask, holds) != 0; }
template <class T>
T atomicAdd(T* at, T value) {
  const T before = *at;
  *at += value;
  return before;
}
inline int __dp4a(int a, int b, int sum) {
  for (int i = 0; i < 4; ++i) sum += static_cast<std::int8_t>(a >> (8 * i)) * static_cast<std::int8_t>(b >> (8 * i));
  return sum;
}
inline int __float2int_rn(float x) { return static_cast<int>(std::nearbyint(x)); }
inline float __uint_as_float(unsigned x) { float f; std::memcpy(&f, &x, 4); return f; }
inline unsigned __float_as_uint(float x) { unsigned u; std::memcpy(&u, &x, 4); return u; }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
using std::max;
using std::min;
