#pragma once

#include <cstdint>

#include "kernels/ops.h"
#include "pipo/model_description.h"

namespace pipo {

/// Sizes of everything a timeline remembers, from the config.
struct StateShape {
  std::int32_t n_attention_layers = 0;
  std::int32_t n_delta_layers = 0;
  std::int32_t hidden_size = 0;
  std::int64_t kv_width = 0;          ///< n_kv_heads * head_dim
  std::int64_t recurrent_floats = 0;  ///< per gated delta layer
  std::int64_t conv_floats = 0;       ///< per gated delta layer
  kernels::KvType kv_type = kernels::KvType::kBf16;
  bool has_draft_head = false;

  static StateShape of(const ModelConfig& config, kernels::KvType kv_type);

  std::int64_t kv_element_bytes() const { return kv_type == kernels::KvType::kF32 ? 4 : 2; }
  /// Keys and values of all layers, the draft head's included, for one position.
  std::int64_t kv_bytes_per_position() const {
    return 2 * kv_width * kv_element_bytes() * (n_attention_layers + (has_draft_head ? 1 : 0));
  }
  std::int64_t delta_floats() const { return recurrent_floats + conv_floats; }
  /// Recurrent and conv states of all layers and the last hidden: what a snapshot copies.
  std::int64_t snapshot_bytes() const { return 4 * (n_delta_layers * delta_floats() + hidden_size); }
};

}  // namespace pipo
