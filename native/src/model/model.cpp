#include "model/model.h"

#include <cmath>
#include <cstring>

#include "model/compressor.h"
#include "model/confidence_head.h"
#include "model/draft_head.h"
#include "model/layers/linear.h"
#include "model/pre_gate.h"
#include "pipo/error.h"

namespace pipo {
namespace {

std::vector<float> rotary_frequencies(const ModelConfig& c) {
  std::vector<float> inv_freq(static_cast<std::size_t>(c.rotary_dim / 2));
  for (std::size_t i = 0; i < inv_freq.size(); ++i) {
    inv_freq[i] = static_cast<float>(std::pow(c.rope_theta, -2.0 * static_cast<double>(i) / c.rotary_dim));
  }
  return inv_freq;
}

}  // namespace

Model::Model(const ModelConfig& config, ModelWeights weights, kernels::Ops& ops)
    : config_(config),
      weights_(std::move(weights)),
      ops_(ops),
      ws_(config),
      inv_freq_(rotary_frequencies(config)),
      backbone_(make_backbone(config.architecture)) {
  if (!backbone_) throw Error(ErrorCode::kUnsupported, "architecture " + config.architecture + " is not supported");
}

Forward Model::forward() {
  const ModelConfig& c = config_;
  const auto eps = static_cast<float>(c.rms_norm_eps);
  return {ops_,
          ws_,
          inv_freq_.data(),
          {c.num_attention_heads, c.num_key_value_heads, c.head_dim, c.rotary_dim, eps},
          {c.linear_num_key_heads, c.linear_num_value_heads, c.linear_key_head_dim, c.linear_value_head_dim,
           c.linear_conv_kernel_dim, eps},
          c.hidden_size,
          c.intermediate_size,
          eps};
}

RunResult Model::extend(Timeline& timeline, std::span<const std::int32_t> slots, std::span<const SnapshotPoint> points,
                        const StopSignal* stop) {
  return extend(timeline, slots, points, stop, DraftRows::kCacheOnly);
}

RunResult Model::extend_with_drafts(Timeline& timeline, std::span<const std::int32_t> slots, const StopSignal* stop) {
  return extend(timeline, slots, {}, stop, DraftRows::kHidden);
}

RunResult Model::extend(Timeline& timeline, std::span<const std::int32_t> slots, std::span<const SnapshotPoint> points,
                        const StopSignal* stop, DraftRows draft_rows) {
  const auto rows = static_cast<std::int32_t>(slots.size()) / timeline.slots_per_position();
  const std::size_t row_bytes = config_.hidden_size * sizeof(float);
  timeline.begin_change();
  std::memcpy(ws_.hidden, timeline.hidden(), row_bytes);
  if (const Status status = latents(timeline.mode(), slots, rows); status != Status::kOk) return {status};
  const RunResult run =
      backbone_->forward(forward(), weights_, timeline, rows, points, stop, ws_.hidden + config_.hidden_size);
  if (!run.done()) return run;
  if (timeline.mode() == DecodeMode::kPair) {
    const Status status = complete_draft_rows(timeline, slots, rows, draft_rows);
    if (status != Status::kOk) return {status};
  }
  for (const SnapshotPoint& point : points) {
    std::memcpy(point.snapshot->hidden.data(), hidden_row(point.rows - 1), row_bytes);
  }
  std::memcpy(timeline.hidden(), hidden_row(rows - 1), row_bytes);
  timeline.commit(slots);
  return {};
}

Status Model::latents(DecodeMode mode, std::span<const std::int32_t> slots, std::int32_t rows) {
  if (mode == DecodeMode::kPlain) return ops_.embed(weights_.embedding, slots.data(), rows, ws_.x);
  return compress(forward(), weights_.pipo->compressor, weights_.embedding, slots.data(), rows, ws_.x);
}

/// Row p needs the first slot of position p + 1: inside the chunk it is known, the chunk's first slot completes the
/// position before, and the chunk's last position waits.
Status Model::complete_draft_rows(Timeline& timeline, std::span<const std::int32_t> slots, std::int32_t rows,
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
  const kernels::KvCache cache = timeline.kv().draft_head();
  if (draft_rows_kind == DraftRows::kCacheOnly) {
    return draft_rows(forward(), w, weights_.embedding, input, span, cache);
  }
  return draft_hidden(forward(), w, weights_.embedding, input, span, cache, ws_.draft_hidden);
}

Status Model::draft(Timeline& timeline, std::int32_t next_slot, std::int32_t first_visible) {
  const DraftInput input{timeline.hidden(), &next_slot};
  const AttentionSpan span{timeline.positions() - 1, 1, first_visible};
  PIPO_TRY(draft_hidden(forward(), weights_.pipo->draft_head, weights_.embedding, input, span,
                        timeline.kv().draft_head(), ws_.draft_hidden));
  timeline.set_draft_row_slot(next_slot);
  return Status::kOk;
}

Status Model::confidence(const float* hidden, const float* draft, float* confidence) {
  return confidence_of(forward(), weights_.pipo->confidence_head, hidden, draft, confidence);
}

Status Model::pre_gate(const float* hidden, float* g) {
  return pre_gate_of(forward(), *weights_.pipo->pre_gate, hidden, g);
}

Status Model::compute_logits(const float* hidden) {
  return linear(forward(), hidden, 1, {{weights_.lm_head, ws_.logits}});
}

}  // namespace pipo
