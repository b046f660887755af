#include "engine_bench/work.h"

#include "cache/state_shape.h"
#include "kernels/packed_matrix.h"
#include "weights/weight_map.h"

namespace pipo::bench {
namespace {

std::vector<WeightSpec> matrices_of(const ModelConfig& config) {
  ModelWeights unused;
  std::vector<WeightSpec> specs = map_weights(config, unused);
  std::erase_if(specs, [](const WeightSpec& spec) { return !spec.is_matrix(); });
  return specs;
}

bool is_of_pairs(const WeightSpec& spec) { return spec.name.starts_with("compressor."); }

/// Of the draft head, what a prompt runs at every position.
bool is_draft_row(const WeightSpec& spec) {
  return spec.phase == WeightPhase::kDraft && (spec.name == "mtp.fc.weight" || spec.name.ends_with("k_proj.weight") ||
                                               spec.name.ends_with("v_proj.weight"));
}

std::int64_t bytes_of(const WeightSpec& spec, const EngineInfo& info) {
  const kernels::WeightType type = weight_type(spec.role, info.dtype);
  const bool quantised = type == kernels::WeightType::kInt8 || type == kernels::WeightType::kInt4;
  return kernels::packed_bytes(type, quantised ? info.group_size : 0, static_cast<int>(spec.shape[0]),
                               static_cast<int>(spec.elements() / spec.shape[0]));
}

}  // namespace

StepBytes plain_step_bytes(const ModelConfig& config, const EngineInfo& info, int positions) {
  StepBytes bytes;
  bytes.weights = info.head_bytes;
  for (const WeightSpec& spec : matrices_of(config)) {
    if (spec.phase == WeightPhase::kBackbone && !is_of_pairs(spec)) bytes.weights += bytes_of(spec, info);
  }
  StateShape shape = StateShape::of(config, kernels::KvType::kBf16);
  shape.has_draft_head = false;
  bytes.states = 2 * 4 * shape.n_delta_layers * shape.recurrent_floats;
  bytes.cache = positions * shape.kv_bytes_per_position();
  return bytes;
}

double prefill_ops(const ModelConfig& config, DecodeMode mode, int positions) {
  const bool is_pair = mode == DecodeMode::kPair;
  double per_position = 0;
  for (const WeightSpec& spec : matrices_of(config)) {
    const bool in_backbone = spec.phase == WeightPhase::kBackbone;
    const bool runs = in_backbone ? is_pair || !is_of_pairs(spec) : is_pair && is_draft_row(spec);
    if (runs) per_position += 2.0 * static_cast<double>(spec.elements());
  }
  const StateShape shape = StateShape::of(config, kernels::KvType::kBf16);
  const double seen = (positions + 1) / 2.0;
  per_position += 4.0 * shape.n_attention_layers * config.num_attention_heads * config.head_dim * seen;
  return per_position * positions;
}

}  // namespace pipo::bench
