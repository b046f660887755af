#include "kernels/block_formats.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "kernels/half.h"
#include "test/support/aligned.h"
#include "test/support/check.h"
#include "test/support/random.h"

/// What blocks of GGUF files mean, against figures of the format's own Python package, and what packing makes of them.
namespace pipo::kernels {
namespace {

using test::AlignedBytes;
using test::Random;

/// Three blocks of pseudo-random bytes with f16 numbers put in at `halves`, and two sums of what they mean.
struct Golden {
  BlockFormat format;
  int bytes, elements;
  std::vector<int> halves;
  double sum, weighted_sum;
};

const std::vector<Golden> kGoldens = {
    {BlockFormat::kQ8_0, 34, 32, {0}, -56.461669921875, -13666.790344238281},
    {BlockFormat::kQ4_0, 18, 32, {0}, 1.67303466796875, 855.7787475585938},
    {BlockFormat::kQ4_1, 20, 32, {0, 2}, 89.96954345703125, 45414.58908081055},
    {BlockFormat::kQ5_0, 22, 32, {0}, -0.90936279296875, -2408.7715454101562},
    {BlockFormat::kQ5_1, 24, 32, {0, 2}, 183.05438232421875, 90233.95974731445},
    {BlockFormat::kQ2_K, 84, 256, {80, 82}, 814.8585815429688, 419595.2267150879},
    {BlockFormat::kQ3_K, 110, 256, {108}, -83.66937255859375, -133204.7041015625},
    {BlockFormat::kQ4_K, 144, 256, {0, 2}, 19053.889038085938, 9532331.967132568},
    {BlockFormat::kQ5_K, 176, 256, {0, 2}, 39198.29016113281, 19955150.446624756},
    {BlockFormat::kQ6_K, 210, 256, {208}, 915.0608520507812, 1215640.5968017578},
    {BlockFormat::kIq4_Nl, 18, 32, {0}, 46.3194580078125, 25199.50848388672},
};

bool is_exact(BlockFormat format) {
  return elements_per_block(format) == 32;  // a scale for every 32 weights
}

/// `count` blocks; the f16 numbers of block b are kHalves + 257 (b % 7).
std::vector<std::uint8_t> random_blocks(const Golden& golden, int count, std::uint32_t seed = 12345) {
  constexpr std::uint16_t kHalves[] = {0x2e66, 0x28cd};  // about 0.1 and 0.0375
  std::vector<std::uint8_t> bytes;
  for (int i = 0; i < count * golden.bytes; ++i) {
    seed = seed * 1664525u + 1013904223u;
    bytes.push_back(static_cast<std::uint8_t>(seed >> 24));
  }
  for (int b = 0; b < count; ++b) {
    for (std::size_t i = 0; i < golden.halves.size(); ++i) {
      const int half = kHalves[i] + b % 7 * 257;
      bytes[b * golden.bytes + golden.halves[i]] = static_cast<std::uint8_t>(half & 255);
      bytes[b * golden.bytes + golden.halves[i] + 1] = static_cast<std::uint8_t>(half >> 8);
    }
  }
  return bytes;
}

std::vector<float> meaning(BlockFormat format, const std::vector<std::uint8_t>& blocks) {
  const std::int64_t elements =
      static_cast<std::int64_t>(blocks.size()) / bytes_per_block(format) * elements_per_block(format);
  std::vector<float> values(static_cast<std::size_t>(elements));
  dequantise(format, blocks.data(), elements, values.data());
  return values;
}

std::vector<float> unpack(WeightType type, int n, int k, const AlignedBytes& bytes) {
  const PackedMatrix matrix{bytes.data(), type, 32, n, k};
  std::vector<float> out(static_cast<std::size_t>(n) * k);
  for (int i = 0; i < n; ++i) CHECK(unpack_row(matrix, i, out.data() + static_cast<std::size_t>(i) * k) == Status::kOk);
  return out;
}

float largest_of_32(const std::vector<float>& values, std::size_t i) {
  float largest = 0.0f;
  for (std::size_t j = i / 32 * 32; j < i / 32 * 32 + 32; ++j) largest = std::max(largest, std::fabs(values[j]));
  return largest;
}

std::string name_of(const Golden& golden) { return "format " + std::to_string(static_cast<int>(golden.format)); }

TEST("blocks mean what the format's own package says") {
  for (const Golden& golden : kGoldens) {
    CHECK(bytes_per_block(golden.format) == golden.bytes);
    CHECK(elements_per_block(golden.format) == golden.elements);
    double sum = 0.0, weighted_sum = 0.0;
    const std::vector<float> values = meaning(golden.format, random_blocks(golden, 3));
    for (std::size_t i = 0; i < values.size(); ++i) {
      sum += values[i];
      weighted_sum += static_cast<double>(values[i]) * static_cast<double>(i * 7919 % 1009);
    }
    CHECK_MESSAGE(std::fabs(sum - golden.sum) < 1e-7, name_of(golden) + ": " + std::to_string(sum));
    CHECK_MESSAGE(std::fabs(weighted_sum - golden.weighted_sum) < 1e-5,
                  name_of(golden) + ": " + std::to_string(weighted_sum));
  }
}

TEST("half precision: every number there and back, and rounding to nearest even") {
  for (int half = 0; half < 0x10000; ++half) {
    const float value = from_f16(static_cast<std::uint16_t>(half));
    const int exponent = half >> 10 & 31, fraction = half & 1023;
    const double magnitude = exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
    if (exponent == 31) {
      CHECK(fraction == 0 ? std::isinf(value) : std::isnan(value));
    } else {
      CHECK(value == (half >> 15 ? -magnitude : magnitude));
    }
    if (exponent < 31 || fraction == 0) CHECK(to_f16(value) == half);
  }
  CHECK(std::isnan(from_f16(to_f16(NAN))));
  CHECK(to_f16(1.0f + 0x1p-11f) == 0x3c00);                 // half way: to the even one below
  CHECK(to_f16(1.0f + 3 * 0x1p-11f) == 0x3c02);             // and above
  CHECK(to_f16(0x1p-25f) == 0 && to_f16(0x1.8p-25f) == 1);  // half of the smallest, three quarters of it
  CHECK(to_f16(65519.0f) == 0x7bff && to_f16(65520.0f) == 0x7c00);
  CHECK(to_f16(0x1p-14f - 0x1p-25f) == 0x0400);  // from subnormal to the smallest normal number
}

TEST("packed as they are, blocks of 32 come back exactly") {
  for (const Golden& golden : kGoldens) {
    if (!is_exact(golden.format)) continue;
    for (const int n : {1, 16, 37}) {
      for (const int k : {32, 96, 256}) {
        const std::vector<std::uint8_t> blocks = random_blocks(golden, n * k / 32, n + k);
        const WeightType type = stored_type(golden.format);
        AlignedBytes packed(packed_bytes(type, 32, n, k));
        CHECK(pack_blocks(golden.format, type, n, k, 0, n, blocks.data(), packed.data()) == Status::kOk);
        CHECK_MESSAGE(unpack(type, n, k, packed) == meaning(golden.format, blocks), name_of(golden));
      }
    }
  }
}

TEST("Q4_K and Q5_K lose no more than the rounding of their scales to f16") {
  for (const Golden& golden : kGoldens) {
    if (golden.format != BlockFormat::kQ4_K && golden.format != BlockFormat::kQ5_K) continue;
    constexpr int kRows = 19, kInputs = 512;
    const std::vector<std::uint8_t> blocks = random_blocks(golden, kRows * kInputs / 256, 5);
    const WeightType type = stored_type(golden.format);
    AlignedBytes packed(packed_bytes(type, 32, kRows, kInputs));
    CHECK(pack_blocks(golden.format, type, kRows, kInputs, 0, kRows, blocks.data(), packed.data()) == Status::kOk);
    const std::vector<float> expected = meaning(golden.format, blocks), actual = unpack(type, kRows, kInputs, packed);
    const int levels = type == WeightType::kQ5 ? 31 : 15;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      // Of a group: scale and minimum from its own weights, whose range is levels * scale at the most.
      const auto group = expected.begin() + static_cast<std::ptrdiff_t>(i / 32 * 32);
      const auto [low, high] = std::minmax_element(group, group + 32);
      const float bound = (levels * (*high - *low) / 8 + std::fabs(*low) + std::fabs(*high)) * 0x1p-11f;
      CHECK(std::fabs(actual[i] - expected[i]) <= bound);
    }
  }
}

TEST("formats with scales for 16 are within half a step of 1/127 of the largest in 32") {
  for (const Golden& golden : kGoldens) {
    if (is_exact(golden.format) || stored_type(golden.format) != WeightType::kQ8) continue;
    constexpr int kRows = 19, kInputs = 512;
    const std::vector<std::uint8_t> blocks = random_blocks(golden, kRows * kInputs / 256, 5);
    AlignedBytes packed(packed_bytes(WeightType::kQ8, 32, kRows, kInputs));
    CHECK(pack_blocks(golden.format, WeightType::kQ8, kRows, kInputs, 0, kRows, blocks.data(), packed.data()) ==
          Status::kOk);
    const std::vector<float> expected = meaning(golden.format, blocks);
    const std::vector<float> actual = unpack(WeightType::kQ8, kRows, kInputs, packed);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      CHECK(std::fabs(actual[i] - expected[i]) <= 0.56f / 127.0f * largest_of_32(expected, i));
    }
  }
}

TEST("to a type that is not the format's own, blocks go as their weights do") {
  for (const Golden& golden : kGoldens) {
    constexpr int kRows = 21, kInputs = 256;
    const std::vector<std::uint8_t> blocks = random_blocks(golden, kRows * kInputs / golden.elements, 9);
    const std::vector<float> values = meaning(golden.format, blocks);
    for (const WeightType type : {WeightType::kF32, WeightType::kBf16, WeightType::kInt8, WeightType::kInt4}) {
      const int group = type == WeightType::kInt8 || type == WeightType::kInt4 ? 32 : 0;
      AlignedBytes expected(packed_bytes(type, group, kRows, kInputs)), actual(expected.size());
      CHECK(pack_rows(type, group, kRows, kInputs, 0, kRows, values.data(), expected.data()) == Status::kOk);
      CHECK(pack_blocks(golden.format, type, kRows, kInputs, 0, kRows, blocks.data(), actual.data()) == Status::kOk);
      CHECK(std::memcmp(expected.data(), actual.data(), expected.size()) == 0);
    }
  }
}

TEST("rows packed in pieces give the same bytes as packed at once, padding included") {
  for (const Golden& golden : kGoldens) {
    const int rows = 50, inputs = golden.elements * 3;
    const std::vector<std::uint8_t> blocks = random_blocks(golden, rows * 3, 3);
    const WeightType type = stored_type(golden.format);
    AlignedBytes whole(packed_bytes(type, 32, rows, inputs)), pieces(whole.size());
    CHECK(pack_blocks(golden.format, type, rows, inputs, 0, rows, blocks.data(), whole.data()) == Status::kOk);
    std::memset(pieces.data(), 0x5a, pieces.size());
    for (const int first : {32, 0, 48}) {
      const int count = first == 0 ? 32 : std::min(16, rows - first);
      CHECK(pack_blocks(golden.format, type, rows, inputs, first, count,
                        blocks.data() + static_cast<std::ptrdiff_t>(first) * 3 * golden.bytes,
                        pieces.data()) == Status::kOk);
    }
    CHECK(std::memcmp(whole.data(), pieces.data(), whole.size()) == 0);
  }
}

TEST("scales that are zero, subnormal, infinite or no number keep their meaning") {
  for (const Golden& golden : kGoldens) {
    if (!is_exact(golden.format)) continue;
    for (const std::uint16_t half : {0x0000, 0x0001, 0x03ff, 0x8001, 0x7c00, 0xfc00, 0x7e00}) {
      std::vector<std::uint8_t> blocks = random_blocks(golden, 2);
      blocks[0] = static_cast<std::uint8_t>(half & 255);
      blocks[1] = static_cast<std::uint8_t>(half >> 8);
      const WeightType type = stored_type(golden.format);
      AlignedBytes packed(packed_bytes(type, 32, 1, 64));
      CHECK(pack_blocks(golden.format, type, 1, 64, 0, 1, blocks.data(), packed.data()) == Status::kOk);
      const std::vector<float> expected = meaning(golden.format, blocks), actual = unpack(type, 1, 64, packed);
      for (int i = 0; i < 64; ++i) {
        CHECK(std::isfinite(expected[i]) ? actual[i] == expected[i] : !std::isfinite(actual[i]));
      }
    }
  }
}

TEST("rows that are not whole blocks, and pieces that are not whole panels, are refused") {
  AlignedBytes bytes(1 << 16);
  const auto pack = [&](BlockFormat from, WeightType to, int n, int k, int first_row, int n_rows) {
    return pack_blocks(from, to, n, k, first_row, n_rows, bytes.data(), bytes.data() + (1 << 15));
  };
  CHECK(pack(BlockFormat::kQ5_0, WeightType::kQ5, 1, 48, 0, 1) == Status::kBadShape);
  CHECK(pack(BlockFormat::kQ4_K, WeightType::kQ4, 1, 32, 0, 1) == Status::kBadShape);
  CHECK(pack(BlockFormat::kQ4_K, WeightType::kBf16, 1, 32, 0, 1) == Status::kBadShape);
  CHECK(pack(BlockFormat::kQ8_0, WeightType::kQ8, 0, 32, 0, 0) == Status::kBadShape);
  CHECK(pack(BlockFormat::kQ8_0, WeightType::kQ8, 32, 32, 8, 8) == Status::kBadShape);
  CHECK(pack(BlockFormat::kQ8_0, WeightType::kQ8, 32, 32, 0, 8) == Status::kBadShape);
  CHECK(pack(BlockFormat::kQ8_0, WeightType::kQ8, 32, 32, 16, std::numeric_limits<int>::max()) == Status::kBadShape);
  CHECK(pack(BlockFormat::kQ8_0, static_cast<WeightType>(9), 16, 32, 0, 16) == Status::kBadShape);
}

}  // namespace
}  // namespace pipo::kernels

int main(int argc, char** argv) { return pipo::test::run(argc, argv); }
