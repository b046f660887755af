#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

namespace pipo::test {

/// Numbers that are the same in every run.
class Random {
 public:
  explicit Random(std::uint32_t seed) : engine_(seed) {}

  std::vector<float> normal(std::size_t count, float deviation) {
    std::normal_distribution<float> distribution(0.0f, deviation);
    std::vector<float> values(count);
    for (float& value : values) value = distribution(engine_);
    return values;
  }

  float uniform(float low, float high) { return std::uniform_real_distribution<float>(low, high)(engine_); }

 private:
  std::mt19937 engine_;
};

}  // namespace pipo::test
