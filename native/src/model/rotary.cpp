#include "model/rotary.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace pipo {
namespace {

/// Long waves are stretched by the factor, short ones stay, those in between are blended.
double llama3_frequency(const RopeScaling& s, double frequency) {
  const double turns = s.original_max_positions * frequency / (2 * std::numbers::pi);  // within the original length
  const double kept = (turns - s.low_frequency_factor) / (s.high_frequency_factor - s.low_frequency_factor);
  const double share = std::clamp(kept, 0.0, 1.0);
  return (1 - share) * frequency / s.factor + share * frequency;
}

/// The place among the pairs of values where a wave turns `turns` times within the original length.
double yarn_place(const ModelConfig& c, double turns) {
  const double length = c.rope_scaling->original_max_positions / (turns * 2 * std::numbers::pi);
  return c.rotary_dim * std::log(length) / (2 * std::log(c.rope_theta));
}

/// Pairs before `low` stay, those after `high` are stretched by the factor, with a ramp between them.
double yarn_frequency(const ModelConfig& c, std::size_t pair, double frequency) {
  const RopeScaling& s = *c.rope_scaling;
  const double low = std::max(std::floor(yarn_place(c, s.beta_fast)), 0.0);
  double high = std::min(std::ceil(yarn_place(c, s.beta_slow)), c.rotary_dim - 1.0);
  if (low == high) high += 0.001;
  const double stretched = std::clamp((static_cast<double>(pair) - low) / (high - low), 0.0, 1.0);
  return stretched * frequency / s.factor + (1 - stretched) * frequency;
}

double scaled(const ModelConfig& c, std::size_t pair, double frequency) {
  if (!c.rope_scaling) return frequency;
  switch (c.rope_scaling->type) {
    case RopeScalingType::kLinear:
      return frequency / c.rope_scaling->factor;
    case RopeScalingType::kLlama3:
      return llama3_frequency(*c.rope_scaling, frequency);
    case RopeScalingType::kYarn:
      return yarn_frequency(c, pair, frequency);
  }
  return frequency;
}

}  // namespace

std::vector<float> rotary_frequencies(const ModelConfig& c) {
  std::vector<float> inv_freq(static_cast<std::size_t>(c.rotary_dim / 2));
  for (std::size_t i = 0; i < inv_freq.size(); ++i) {
    const double frequency = std::pow(c.rope_theta, -2.0 * static_cast<double>(i) / c.rotary_dim);
    inv_freq[i] = static_cast<float>(scaled(c, i, frequency));
  }
  return inv_freq;
}

}  // namespace pipo
