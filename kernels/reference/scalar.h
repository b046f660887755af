#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

/// The scalar functions that the reference operations share.
namespace pipo::kernels::reference {

inline float sigmoid(float x) { return 1.0f / (1.0f + std::exp(-x)); }

inline float silu(float x) { return x * sigmoid(x); }

inline float softplus(float x) { return x > 20.0f ? x : std::log1p(std::exp(x)); }

/// Rounds to nearest even; a NaN stays a NaN.
inline std::uint16_t to_bf16(float x) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(x);
  if (std::isnan(x)) return static_cast<std::uint16_t>((bits >> 16) | 0x40u);
  return static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

inline float from_bf16(std::uint16_t x) { return std::bit_cast<float>(static_cast<std::uint32_t>(x) << 16); }

}  // namespace pipo::kernels::reference
