#include "kernels/packed_matrix.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "test/support/aligned.h"
#include "test/support/check.h"
#include "test/support/random.h"

namespace pipo::kernels {
namespace {

using test::AlignedBytes;
using test::Random;

AlignedBytes pack(WeightType type, int group, int n, int k, const std::vector<float>& values) {
  AlignedBytes bytes(packed_bytes(type, group, n, k));
  CHECK(pack_rows(type, group, n, k, 0, n, values.data(), bytes.data()) == Status::kOk);
  return bytes;
}

std::vector<float> unpack(WeightType type, int group, int n, int k, const AlignedBytes& bytes) {
  const PackedMatrix matrix{bytes.data(), type, static_cast<std::uint16_t>(group), n, k};
  std::vector<float> out(static_cast<std::size_t>(n) * k);
  for (int i = 0; i < n; ++i) CHECK(unpack_row(matrix, i, out.data() + static_cast<std::size_t>(i) * k) == Status::kOk);
  return out;
}

/// Largest magnitude of each group of one row.
float largest_of_group(const std::vector<float>& values, int k, int row, int input, int group) {
  float largest = 0.0f;
  const int first = input / group * group;
  for (int i = first; i < std::min(k, first + group); ++i) largest = std::max(largest, std::fabs(values[row * k + i]));
  return largest;
}

TEST("f32 keeps every bit, bf16 rounds to nearest even") {
  Random random(1);
  for (const int n : {1, 16, 19}) {
    for (const int k : {1, 64, 70}) {
      const std::vector<float> values = random.normal(n * k, 1.0f);
      CHECK(unpack(WeightType::kF32, 0, n, k, pack(WeightType::kF32, 0, n, k, values)) == values);
      const std::vector<float> rounded = unpack(WeightType::kBf16, 0, n, k, pack(WeightType::kBf16, 0, n, k, values));
      for (std::size_t i = 0; i < values.size(); ++i) {
        CHECK(std::fabs(rounded[i] - values[i]) <= std::fabs(values[i]) / 256.0f);
      }
    }
  }
  // Halfway between two bf16 numbers: to the even one.
  const std::vector<float> halfway = {1.00390625f, 1.01171875f};
  CHECK((unpack(WeightType::kBf16, 0, 1, 2, pack(WeightType::kBf16, 0, 1, 2, halfway)) ==
         std::vector<float>{1.0f, 1.015625f}));
}

TEST("int8 is within half a step, int4 within one") {
  Random random(2);
  for (const int group : {32, 64}) {
    for (const int k : {1, 64, 100, 200}) {
      constexpr int kRows = 37;
      const std::vector<float> values = random.normal(kRows * k, 0.02f);
      const std::vector<float> int8 =
          unpack(WeightType::kInt8, group, kRows, k, pack(WeightType::kInt8, group, kRows, k, values));
      const std::vector<float> int4 =
          unpack(WeightType::kInt4, group, kRows, k, pack(WeightType::kInt4, group, kRows, k, values));
      for (int row = 0; row < kRows; ++row) {
        for (int i = 0; i < k; ++i) {
          const float largest = largest_of_group(values, k, row, i, group);
          const float error8 = std::fabs(int8[row * k + i] - values[row * k + i]);
          const float error4 = std::fabs(int4[row * k + i] - values[row * k + i]);
          CHECK(error8 <= 0.51f * largest / 127.0f);
          CHECK(error4 <= 1.01f * largest / 7.0f);
        }
      }
    }
  }
}

TEST("Q8 is within half a step of the largest, Q5 and Q4 within half a step of the range") {
  struct Case {
    WeightType type;
    float steps;
  };
  Random random(5);
  for (const Case c : {Case{WeightType::kQ8, 127.0f}, {WeightType::kQ5, 31.0f}, {WeightType::kQ4, 15.0f}}) {
    for (const int k : {1, 32, 64, 100, 200}) {
      for (const float middle : {0.0f, 0.3f}) {
        constexpr int kRows = 37;
        std::vector<float> values = random.normal(kRows * k, 0.02f);
        for (float& value : values) value += middle;
        const std::vector<float> back = unpack(c.type, 32, kRows, k, pack(c.type, 32, kRows, k, values));
        for (int row = 0; row < kRows; ++row) {
          for (int i = 0; i < k; ++i) {
            const auto first = values.begin() + row * k + i / 32 * 32;
            const auto [low, high] = std::minmax_element(first, first + std::min(32, k - i / 32 * 32));
            const float largest = std::max(std::fabs(*low), std::fabs(*high));
            const float range = c.type == WeightType::kQ8 ? largest : *high - *low;
            const float bound = 0.5f * range / c.steps + largest * 0x1.8p-10f;  // and scales in f16
            CHECK(std::fabs(back[row * k + i] - values[row * k + i]) <= bound);
          }
        }
      }
    }
  }
}

double squared_error(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * static_cast<double>(a[i] - b[i]);
  return sum;
}

TEST("int4 loses less than rounding to the extreme weight would") {
  Random random(3);
  constexpr int kRows = 64, kInputs = 512, kGroup = 32;
  const std::vector<float> values = random.normal(kRows * kInputs, 0.02f);
  std::vector<float> plain(values.size());
  for (std::size_t first = 0; first < values.size(); first += kGroup) {
    float extreme = 0.0f;
    for (int i = 0; i < kGroup; ++i) {
      if (std::fabs(values[first + i]) > std::fabs(extreme)) extreme = values[first + i];
    }
    for (int i = 0; i < kGroup; ++i) {
      const float step = extreme / -8.0f;
      plain[first + i] = step * std::min(7.0f, std::nearbyint(values[first + i] / step));
    }
  }
  const std::vector<float> ours =
      unpack(WeightType::kInt4, kGroup, kRows, kInputs, pack(WeightType::kInt4, kGroup, kRows, kInputs, values));
  CHECK(squared_error(ours, values) < 0.95 * squared_error(plain, values));
}

TEST("values on the grid come back exactly") {
  std::vector<float> int8, int4;
  for (int i = 0; i < 64; ++i) int8.push_back(0.25f * static_cast<float>(i % 2 == 0 ? 127 - i : i - 127));
  for (int i = 0; i < 64; ++i) int4.push_back(-0.5f * static_cast<float>(i % 16 - 8));
  for (const int group : {32, 64}) {
    const std::vector<float> back8 =
        unpack(WeightType::kInt8, group, 1, 64, pack(WeightType::kInt8, group, 1, 64, int8));
    if (group == 64) CHECK(back8 == int8);
    CHECK(unpack(WeightType::kInt4, group, 1, 64, pack(WeightType::kInt4, group, 1, 64, int4)) == int4);
  }
  std::vector<float> q8, q5, q4;
  for (int i = 0; i < 64; ++i) {
    q8.push_back(0.125f * static_cast<float>(i % 32 == 0 ? 127 : 3 * i - 96));
    q5.push_back(0.5f * static_cast<float>(i * 7 % 32) - 3.0f);
    q4.push_back(0.25f * static_cast<float>(i * 3 % 16) + 1.0f);
  }
  CHECK(unpack(WeightType::kQ8, 32, 1, 64, pack(WeightType::kQ8, 32, 1, 64, q8)) == q8);
  CHECK(unpack(WeightType::kQ5, 32, 1, 64, pack(WeightType::kQ5, 32, 1, 64, q5)) == q5);
  CHECK(unpack(WeightType::kQ4, 32, 1, 64, pack(WeightType::kQ4, 32, 1, 64, q4)) == q4);
}

TEST("rows packed in pieces give the same bytes as packed at once") {
  Random random(4);
  constexpr int kRows = 50, kInputs = 70;
  const std::vector<float> values = random.normal(kRows * kInputs, 1.0f);
  for (const WeightType type : {WeightType::kF32, WeightType::kBf16, WeightType::kInt8, WeightType::kInt4,
                                WeightType::kQ8, WeightType::kQ5, WeightType::kQ4}) {
    const int group = type == WeightType::kF32 || type == WeightType::kBf16 ? 0 : 32;
    const AlignedBytes whole = pack(type, group, kRows, kInputs, values);
    AlignedBytes pieces(whole.size());
    std::memset(pieces.data(), 0x5a, pieces.size());  // padding must be written too
    for (const int first : {32, 0, 16, 48}) {
      const int count = std::min(16, kRows - first);
      CHECK(pack_rows(type, group, kRows, kInputs, first, count, values.data() + first * kInputs, pieces.data()) ==
            Status::kOk);
    }
    CHECK(std::memcmp(whole.data(), pieces.data(), whole.size()) == 0);
  }
}

TEST("zero, tiny and damaged weights") {
  std::vector<float> values(64, 0.0f);
  for (int i = 32; i < 64; ++i) values[i] = 1e-39f;
  for (const WeightType type : {WeightType::kInt8, WeightType::kInt4}) {
    for (const float value : unpack(type, 32, 1, 64, pack(type, 32, 1, 64, values))) CHECK(value == 0.0f);
  }
  values[3] = INFINITY;
  for (const WeightType type : {WeightType::kInt8, WeightType::kInt4}) {
    const std::vector<float> back = unpack(type, 32, 1, 64, pack(type, 32, 1, 64, values));
    CHECK(std::isnan(back[3]) && std::isnan(back[0]));
    CHECK(back[40] == 0.0f);
  }
  for (const WeightType type : {WeightType::kQ8, WeightType::kQ5, WeightType::kQ4}) {
    for (const float damage : {INFINITY, -INFINITY, NAN, 1e30f, -1e30f}) {
      values[3] = damage;
      const std::vector<float> back = unpack(type, 32, 1, 64, pack(type, 32, 1, 64, values));
      CHECK(std::isnan(back[3]) && std::isnan(back[0]));
      CHECK(back[40] == 0.0f);
    }
  }
}

TEST("sizes are whole lines and grow with the bits") {
  CHECK(packed_bytes(WeightType::kF32, 0, 16, 64) == 16 * 64 * 4);
  CHECK(packed_bytes(WeightType::kBf16, 0, 17, 65) == 32 * 128 * 2);
  CHECK(packed_bytes(WeightType::kInt8, 32, 16, 64) == 16 * 64 + 64);
  CHECK(packed_bytes(WeightType::kInt8, 64, 16, 192) == 16 * 192 + 2 * 64);
  CHECK(packed_bytes(WeightType::kInt4, 32, 16, 64) == 16 * 32 + 64);
  CHECK(packed_bytes(WeightType::kQ8, 32, 16, 64) == 16 * 64 + 64);
  CHECK(packed_bytes(WeightType::kQ5, 32, 17, 64) == 2 * 2 * 6 * 64);
  CHECK(packed_bytes(WeightType::kQ4, 32, 16, 65) == 4 * 5 * 64);
  CHECK(packed_bytes(WeightType::kF32, 0, 1 << 30, 1 << 20) == std::int64_t{1} << 52);
  CHECK(packed_bytes(WeightType::kInt8, 32, 248320, 2560) == 248320LL * 2560 + 248320LL / 16 * 40 * 64);
}

TEST("bad arguments are refused") {
  float value = 0.0f;
  AlignedBytes bytes(1 << 16);
  CHECK(packed_bytes(WeightType::kInt8, 0, 16, 64) == 0);
  CHECK(packed_bytes(WeightType::kInt8, 48, 16, 64) == 0);
  CHECK(packed_bytes(WeightType::kF32, 32, 16, 64) == 0);
  CHECK(packed_bytes(WeightType::kQ8, 64, 16, 64) == 0);
  CHECK(packed_bytes(WeightType::kQ4, 0, 16, 64) == 0);
  CHECK(packed_bytes(WeightType::kF32, 0, 0, 64) == 0);
  CHECK(packed_bytes(WeightType::kF32, 0, 16, -1) == 0);
  CHECK(packed_bytes(static_cast<WeightType>(9), 0, 16, 64) == 0);
  CHECK(pack_rows(WeightType::kF32, 0, 32, 1, 8, 8, &value, bytes.data()) == Status::kBadShape);
  CHECK(pack_rows(WeightType::kF32, 0, 32, 1, 0, 8, &value, bytes.data()) == Status::kBadShape);
  CHECK(pack_rows(WeightType::kF32, 0, 32, 1, 16, 32, &value, bytes.data()) == Status::kBadShape);
  const PackedMatrix matrix{bytes.data(), WeightType::kF32, 0, 16, 1};
  CHECK(unpack_row(matrix, 16, &value) == Status::kBadShape);
  CHECK(unpack_row(matrix, -1, &value) == Status::kBadShape);
  CHECK(unpack_row({nullptr, WeightType::kF32, 0, 16, 1}, 0, &value) == Status::kBadShape);
}

}  // namespace
}  // namespace pipo::kernels

int main(int argc, char** argv) { return pipo::test::run(argc, argv); }
