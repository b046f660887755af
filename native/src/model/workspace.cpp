#include "model/workspace.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace pipo {
namespace {

using Part = std::pair<float * Workspace::*, std::int64_t>;

std::vector<Part> parts(const ModelConfig& c, std::int64_t rows) {
  const std::int64_t hidden = c.hidden_size, inner = c.intermediate_size;
  const std::int64_t attention = std::int64_t{c.num_attention_heads} * c.head_dim;
  const std::int64_t kv = std::int64_t{c.num_key_value_heads} * c.head_dim;
  const std::int64_t value = std::int64_t{c.linear_num_value_heads} * c.linear_value_head_dim;
  const std::int64_t channels = 2 * std::int64_t{c.linear_num_key_heads} * c.linear_key_head_dim + value;
  const std::int64_t mixer = std::max(attention, value);
  const std::int64_t small = std::max<std::int64_t>(kv, c.linear_num_value_heads);
  return {{&Workspace::x, rows * hidden},
          {&Workspace::normed, rows * 2 * hidden},
          {&Workspace::embeddings, rows * 2 * hidden},
          {&Workspace::inner, rows * 2 * hidden},
          {&Workspace::hidden, (rows + 1) * hidden},
          {&Workspace::draft_hidden, rows * hidden},
          {&Workspace::projected, rows * std::max(2 * attention, channels)},
          {&Workspace::query, rows * mixer},
          {&Workspace::gate, rows * mixer},
          {&Workspace::key, rows * small},
          {&Workspace::value, rows * small},
          {&Workspace::mixed, rows * mixer},
          {&Workspace::mlp_gate, rows * inner},
          {&Workspace::mlp_up, rows * inner},
          {&Workspace::logits, c.vocab_size},
          {&Workspace::scalar, 1}};
}

std::int64_t padded(std::int64_t floats) { return (floats + 15) / 16 * 16; }

std::int64_t total(const ModelConfig& config, std::int32_t rows) {
  std::int64_t sum = 0;
  for (const auto& [field, floats] : parts(config, rows)) sum += padded(floats);
  return sum;
}

}  // namespace

Workspace::Workspace(const ModelConfig& config, std::int32_t max_rows)
    : max_rows_(max_rows), memory_(static_cast<std::size_t>(total(config, max_rows))) {
  float* at = memory_.data();
  for (const auto& [field, floats] : parts(config, max_rows)) {
    this->*field = at;
    at += padded(floats);
  }
}

std::int64_t Workspace::bytes(const ModelConfig& config, std::int32_t max_rows) { return 4 * total(config, max_rows); }

}  // namespace pipo
