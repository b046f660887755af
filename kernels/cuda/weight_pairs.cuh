#pragma once

#include "kernels/cuda/tensor_core.cuh"

/// Quantised weights as pairs of bf16, without converting instructions. A bf16 whose bits are the number u < 256 is
/// u 2^-133, subnormal or not, so that one multiplication makes a number of bits that were only masked; what had been
/// added to keep them positive goes in the same step.
namespace pipo::cuda {

/// a m + c for pairs of bf16.
__device__ __forceinline__ unsigned scaled_pair(unsigned a, unsigned m, unsigned c) {
#ifdef __CUDA_ARCH__
  unsigned sum;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(sum) : "r"(a), "r"(m), "r"(c));
  return sum;
#else
  return bf16_pair(bf16_low(a) * bf16_low(m) + bf16_low(c), bf16_high(a) * bf16_high(m) + bf16_high(c));
#endif
}

/// The functions below give 1 / kShrunk of the weights, exactly.
constexpr float kShrunk = 64.0f;

/// Bytes 0 and 2 of a word of int8 with 128 added.
__device__ __forceinline__ unsigned byte_pair(unsigned word) {
  return scaled_pair(word & 0x00ff00ffu, 0x7f007f00u, 0xc000c000u);  // 2^127, -128 / 64
}
/// The low, the high nibbles of bytes 0 and 2 of a word of int4 with 8 added.
__device__ __forceinline__ unsigned low_nibble_pair(unsigned word) {
  return scaled_pair(word & 0x000f000fu, 0x7f007f00u, 0xbe00be00u);  // 2^127, -8 / 64
}
__device__ __forceinline__ unsigned high_nibble_pair(unsigned word) {
  return scaled_pair(word & 0x00f000f0u, 0x7d007d00u, 0xbe00be00u);  // 2^123
}

/// Pairs that hold inputs 0, 2 and 1, 3 put in order, times `scale` of both halves: rounded to bf16 here.
__device__ __forceinline__ uint2 in_order(unsigned even, unsigned odd, unsigned scale) {
  constexpr unsigned kMinusZero = 0x80008000u;
  return make_uint2(scaled_pair((even & 0xffffu) | odd << 16, scale, kMinusZero),
                    scaled_pair(even >> 16 | (odd & 0xffff0000u), scale, kMinusZero));
}

}  // namespace pipo::cuda
