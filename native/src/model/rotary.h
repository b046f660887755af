#pragma once

#include <vector>

#include "pipo/model_description.h"

namespace pipo {

/// Angle per position of each pair of rotated values, [rotary_dim / 2], stretched as the config's rope scaling says.
/// Formulas: `modeling_rope_utils.py` of Hugging Face transformers.
std::vector<float> rotary_frequencies(const ModelConfig& config);

}  // namespace pipo
