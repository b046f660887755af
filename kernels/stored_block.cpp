#include "kernels/stored_block.h"

#include <bit>
#include <limits>

#include "kernels/half.h"

namespace pipo::kernels {
namespace {

using layout::kBlock;

constexpr std::uint16_t kNotANumber = 0x7e00;

/// Nearest even for |x| < 2^22, and, unlike std::nearbyint, in vector code of every baseline.
float round_small(float x) {
  constexpr float kShift = 12582912.0f;  // 1.5 * 2^23
  return (x + kShift) - kShift;
}

bool is_finite(std::uint16_t half) { return (half & 0x7c00u) != 0x7c00u; }

/// q[i] = the whole number in [low, high] nearest to (w[i] - minimum) / step; `low` where there is no step.
void round_to_grid(const float (&w)[kBlock], float minimum, float step, float low, float high, float (&q)[kBlock]) {
  const float inverse = step > 0.0f ? 1.0f / step : 0.0f;
  for (int i = 0; i < kBlock; ++i) {
    const float steps = round_small((w[i] - minimum) * inverse);
    const float at_least = steps > low ? steps : low;  // also where it is no number
    q[i] = at_least > high ? high : at_least;
  }
}

struct Range {
  float low, high;
  bool finite;
};

/// Whole numbers in the order of floats: compilers find their extremes with vectors, and NaN lies beyond the
/// infinities.
std::int32_t order_of(float x) {
  const auto bits = std::bit_cast<std::int32_t>(x);
  return bits ^ (bits >> 31 & 0x7fffffff);
}

float float_at(std::int32_t order) { return std::bit_cast<float>(order ^ (order >> 31 & 0x7fffffff)); }

Range range_of(const float (&w)[kBlock]) {
  std::int32_t low = order_of(w[0]), high = low;
  for (int i = 0; i < kBlock; ++i) {
    const std::int32_t order = order_of(w[i]);
    low = order < low ? order : low;
    high = order > high ? order : high;
  }
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  return {float_at(low), float_at(high), low > order_of(-kInfinity) && high < order_of(kInfinity)};
}

void round_signed(const float (&w)[kBlock], const Range& range, StoredBlock* out) {
  const float largest = range.high > -range.low ? range.high : -range.low;
  out->scale = to_f16(largest / 127.0f);
  float q[kBlock];
  round_to_grid(w, 0.0f, from_f16(out->scale), -127.0f, 127.0f, q);
  for (int i = 0; i < kBlock; ++i) out->bytes[i] = static_cast<std::uint8_t>(static_cast<std::int32_t>(q[i]));
}

void round_from_minimum(const float (&w)[kBlock], const Range& range, WeightType type, StoredBlock* out) {
  const float highest = type == WeightType::kQ5 ? 31.0f : 15.0f;
  out->minimum = to_f16(range.low);
  const float minimum = from_f16(out->minimum);
  out->scale = to_f16(range.high > minimum ? (range.high - minimum) / highest : 0.0f);
  float q[kBlock];
  round_to_grid(w, minimum, from_f16(out->scale), 0.0f, highest, q);
  std::uint32_t fifth = 0;
  for (int i = 0; i < kBlock; ++i) fifth |= static_cast<std::uint32_t>(static_cast<std::int32_t>(q[i]) >> 4) << i;
  out->fifth = fifth_of_panel(fifth);
  for (int i = 0; i < kBlock / 2; ++i) {
    const std::int32_t low = static_cast<std::int32_t>(q[i]) & 15, high = static_cast<std::int32_t>(q[i + 16]) & 15;
    out->bytes[i] = static_cast<std::uint8_t>(low | high << 4);
  }
}

/// The 32 whole numbers of a row; `quads` points at its first.
void load_numbers(WeightType type, const std::uint8_t* quads, float (&q)[kBlock]) {
  std::uint8_t bytes[kBlock];
  for (int line = 0; line < (type == WeightType::kQ8 ? 8 : 4); ++line) {
    std::memcpy(bytes + 4 * line, quads + line * layout::kLineBytes, 4);
  }
  if (type == WeightType::kQ8) {
    for (int i = 0; i < kBlock; ++i) q[i] = static_cast<float>(static_cast<std::int8_t>(bytes[i]));
    return;
  }
  std::uint32_t fifth = 0;
  if (type == WeightType::kQ5) std::memcpy(&fifth, quads + 4 * layout::kLineBytes, 4);
  for (int i = 0; i < kBlock; ++i) {
    const unsigned nibble = i < 16 ? bytes[i] & 15u : bytes[i - 16] >> 4;
    const int bit = 8 * (i % 4) + 2 * (i / 4 % 4) + i / 16;
    q[i] = static_cast<float>(nibble | (fifth >> bit & 1u) << 4);
  }
}

}  // namespace

void put_block(WeightType type, std::uint8_t* panel, int block, int row, const StoredBlock& from) {
  if (type == WeightType::kQ8) return put_block<WeightType::kQ8>(panel, block, row, from);
  if (type == WeightType::kQ5) return put_block<WeightType::kQ5>(panel, block, row, from);
  put_block<WeightType::kQ4>(panel, block, row, from);
}

StoredBlock round_block(WeightType type, const float* w, int count) {
  StoredBlock out;
  float values[kBlock];
  std::memcpy(values, w, sizeof(float) * count);
  for (int i = count; i < kBlock; ++i) values[i] = w[count - 1];  // what fills up does not widen the range
  const Range range = range_of(values);
  if (type == WeightType::kQ8) {
    round_signed(values, range, &out);
  } else {
    round_from_minimum(values, range, type, &out);
  }
  if (range.finite && is_finite(out.scale) && is_finite(out.minimum)) return out;
  StoredBlock damaged;
  damaged.scale = kNotANumber;
  return damaged;
}

void unpack_block(WeightType type, const std::uint8_t* panel, int block, int row, float* out) {
  std::uint16_t scale, minimum = 0;
  const std::uint8_t* scales = panel + layout::scale_offset(type, kBlock, block, row);
  std::memcpy(&scale, scales, 2);
  if (layout::has_minimum(type)) std::memcpy(&minimum, scales + layout::kMinimumAfterScale, 2);
  float q[kBlock];
  load_numbers(type, panel + layout::block_offset(type, kBlock, block) + 4 * row, q);
  const float step = from_f16(scale), lowest = from_f16(minimum);
  for (int i = 0; i < kBlock; ++i) out[i] = step * q[i] + lowest;
}

}  // namespace pipo::kernels
