#pragma once

#include <cmath>
#include <vector>

#include "pipo/model_description.h"

namespace pipo {

/// Angle per position of each pair of rotated values, [rotary_dim / 2].
inline std::vector<float> rotary_frequencies(const ModelConfig& c) {
  std::vector<float> inv_freq(static_cast<std::size_t>(c.rotary_dim / 2));
  for (std::size_t i = 0; i < inv_freq.size(); ++i) {
    inv_freq[i] = static_cast<float>(std::pow(c.rope_theta, -2.0 * static_cast<double>(i) / c.rotary_dim));
  }
  return inv_freq;
}

}  // namespace pipo
