#pragma once

#include <bit>
#include <cstdint>

/// Half precision (f16) in whole-number arithmetic, the same on every machine.
namespace pipo::kernels {

static inline float from_f16(std::uint16_t half) {
  const std::uint32_t magnitude = half & 0x7fffu;
  // The exponent is moved by a product, which makes subnormal numbers right too.
  constexpr float kBiasDifference = 0x1p112f;
  float value = std::bit_cast<float>(magnitude << 13) * kBiasDifference;
  if (magnitude >= 0x7c00u) value = std::bit_cast<float>(0x7f800000u | (magnitude << 13));  // infinite or not a number
  return (half & 0x8000u) != 0 ? -value : value;
}

/// Rounds to nearest even; from 65520 on it is infinite; a NaN stays a NaN.
static inline std::uint16_t to_f16(float x) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000u);
  std::uint32_t half;
  if (magnitude > 0x7f800000u) {
    half = 0x7e00u;
  } else if (magnitude >= 0x477ff000u) {
    half = 0x7c00u;
  } else if (magnitude < 0x38800000u) {  // subnormal: a unit of f16 is one of 0.5f, so that the sum rounds as wanted
    half = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3f000000u;
  } else {
    half = (magnitude + 0xfffu + ((magnitude >> 13) & 1u) - (112u << 23)) >> 13;
  }
  return static_cast<std::uint16_t>(sign | half);
}

}  // namespace pipo::kernels
