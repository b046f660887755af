#include "model/cpu_model.h"

#include <algorithm>
#include <cstring>

#include "cache/host_states.h"
#include "model/backbone.h"
#include "model/compressor.h"
#include "model/confidence_head.h"
#include "model/draft_head.h"
#include "model/layers/linear.h"
#include "model/pre_gate.h"
#include "model/rotary.h"

namespace pipo {
namespace {

/// A timeline's states are made by its model.
HostStates& states_of(Timeline& timeline) { return static_cast<HostStates&>(timeline.states()); }

kernels::AttentionShape attention_shape(const ModelConfig& c) {
  kernels::AttentionShape shape;
  shape.n_heads = c.num_attention_heads;
  shape.n_kv_heads = c.num_key_value_heads;
  shape.head_dim = c.head_dim;
  shape.rotary_dim = c.rotary_dim;
  shape.eps = static_cast<float>(c.rms_norm_eps);
  shape.output_gate = c.output_gate;
  if (c.rope_scaling) shape.rotary_scale = static_cast<float>(c.rope_scaling->attention_factor);
  return shape;
}

}  // namespace

CpuModel::CpuModel(const ModelConfig& config, ModelWeights weights, const StateShape& shape, kernels::Ops& ops)
    : config_(config),
      weights_(std::move(weights)),
      shape_(shape),
      ops_(ops),
      ws_(config),
      inv_freq_(rotary_frequencies(config)) {}

std::unique_ptr<TimelineStates> CpuModel::make_states() { return std::make_unique<HostStates>(shape_); }

Forward CpuModel::forward() {
  const ModelConfig& c = config_;
  const auto eps = static_cast<float>(c.rms_norm_eps);
  return {ops_,
          ws_,
          inv_freq_.data(),
          attention_shape(c),
          {c.linear_num_key_heads, c.linear_num_value_heads, c.linear_key_head_dim, c.linear_value_head_dim,
           c.linear_conv_kernel_dim, eps},
          c.hidden_size,
          c.intermediate_size,
          eps};
}

RunResult CpuModel::extend(Timeline& timeline, std::span<const std::int32_t> slots, std::span<const SnapshotPoint> points,
                        const StopSignal* stop) {
  return extend(timeline, slots, points, stop, DraftRows::kCacheOnly);
}

RunResult CpuModel::extend_with_drafts(Timeline& timeline, std::span<const std::int32_t> slots, const StopSignal* stop) {
  return extend(timeline, slots, {}, stop, DraftRows::kHidden);
}

RunResult CpuModel::extend(Timeline& timeline, std::span<const std::int32_t> slots, std::span<const SnapshotPoint> points,
                        const StopSignal* stop, DraftRows draft_rows) {
  const auto rows = static_cast<std::int32_t>(slots.size()) / timeline.slots_per_position();
  const std::size_t row_bytes = config_.hidden_size * sizeof(float);
  HostStates& states = states_of(timeline);
  timeline.begin_change();
  std::memcpy(ws_.hidden, states.hidden(), row_bytes);
  if (const Status status = latents(timeline.mode(), slots, rows); status != Status::kOk) return {status};
  const ChunkPlace place{timeline.positions(), rows, points};
  const RunResult run = run_backbone(forward(), weights_, states, place, stop, ws_.hidden + config_.hidden_size);
  if (!run.done()) return run;
  if (timeline.mode() == DecodeMode::kPair) {
    const Status status = complete_draft_rows(timeline, slots, rows, draft_rows);
    if (status != Status::kOk) return {status};
  }
  for (const SnapshotPoint& point : points) {
    std::memcpy(host(*point.snapshot).hidden.data(), hidden_row(timeline, point.rows - 1), row_bytes);
  }
  states.set_hidden(hidden_row(timeline, rows - 1));
  timeline.commit(slots);
  return {};
}

Status CpuModel::latents(DecodeMode mode, std::span<const std::int32_t> slots, std::int32_t rows) {
  if (mode == DecodeMode::kPlain) return ops_.embed(weights_.embedding, slots.data(), rows, ws_.x);
  return compress(forward(), weights_.pipo->compressor, weights_.embedding, slots.data(), rows, ws_.x);
}

/// Row p needs the first slot of position p + 1: inside the chunk it is known, the chunk's first slot completes the
/// position before, and the chunk's last position waits.
Status CpuModel::complete_draft_rows(Timeline& timeline, std::span<const std::int32_t> slots, std::int32_t rows,
                                  DraftRows draft_rows_kind) {
  const bool has_before = timeline.positions() > 0;
  const bool before_done =
      has_before && draft_rows_kind == DraftRows::kCacheOnly && timeline.draft_row_slot() == slots[0];
  const std::int32_t skipped = has_before && !before_done ? 0 : 1;  // rows of ws_.hidden without work
  std::int32_t next_slots[Workspace::kMaxRows];
  for (std::int32_t row = skipped; row < rows; ++row) next_slots[row - skipped] = slots[2 * row];
  if (rows == skipped) return Status::kOk;

  const DraftInput input{ws_.hidden + std::int64_t{skipped} * config_.hidden_size, next_slots};
  const AttentionSpan span{timeline.positions() - 1 + skipped, rows - skipped, 0};
  const DraftHeadWeights& w = weights_.pipo->draft_head;
  const kernels::KvCache cache = states_of(timeline).kv().draft_head();
  if (draft_rows_kind == DraftRows::kCacheOnly) {
    return draft_rows(forward(), w, weights_.embedding, input, span, cache);
  }
  return draft_hidden(forward(), w, weights_.embedding, input, span, cache, ws_.draft_hidden);
}

Status CpuModel::draft(Timeline& timeline, std::int32_t next_slot, std::int32_t first_visible) {
  const DraftInput input{timeline.hidden(), &next_slot};
  const AttentionSpan span{timeline.positions() - 1, 1, first_visible};
  PIPO_TRY(draft_hidden(forward(), weights_.pipo->draft_head, weights_.embedding, input, span,
                        states_of(timeline).kv().draft_head(), ws_.draft_hidden));
  timeline.set_draft_row_slot(next_slot);
  return Status::kOk;
}

Status CpuModel::confidence(Timeline&, const float* hidden, const float* draft, float* confidence) {
  return confidence_of(forward(), weights_.pipo->confidence_head, hidden, draft, confidence);
}

Status CpuModel::pre_gate(Timeline&, const float* hidden, float* g) {
  return pre_gate_of(forward(), *weights_.pipo->pre_gate, hidden, g);
}

Status CpuModel::compute_logits(Timeline&, const float* hidden) {
  return linear(forward(), hidden, 1, {{weights_.lm_head, ws_.logits}});
}

Status CpuModel::read(Timeline&, const float* vector, std::span<float> out) {
  std::copy_n(vector, out.size(), out.data());
  return Status::kOk;
}

}  // namespace pipo
