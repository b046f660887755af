#include "cache/state_shape.h"

namespace pipo {

StateShape StateShape::of(const ModelConfig& c, kernels::KvType kv_type) {
  StateShape s;
  for (const LayerType type : c.layer_types)
    ++(type == LayerType::kFullAttention ? s.n_attention_layers : s.n_delta_layers);
  s.hidden_size = c.hidden_size;
  s.kv_width = std::int64_t{c.num_key_value_heads} * c.head_dim;
  const std::int64_t key_width = std::int64_t{c.linear_num_key_heads} * c.linear_key_head_dim;
  const std::int64_t value_width = std::int64_t{c.linear_num_value_heads} * c.linear_value_head_dim;
  s.recurrent_floats = value_width * c.linear_key_head_dim;
  s.conv_floats = (c.linear_conv_kernel_dim - 1) * (2 * key_width + value_width);
  s.kv_type = kv_type;
  s.has_draft_head = c.pipo.has_value();
  return s;
}

}  // namespace pipo
