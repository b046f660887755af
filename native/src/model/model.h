#pragma once

#include <memory>
#include <span>
#include <vector>

#include "cache/timeline.h"
#include "core/stop_signal.h"
#include "kernels/backend.h"
#include "model/backbone.h"
#include "model/weights.h"
#include "model/workspace.h"

namespace pipo {

/// The model in terms of slots and positions: everything under a session. Operations run one at a time (see TurnQueue);
/// results lie in the workspace until the next one.
class Model {
 public:
  /// Throws kUnsupported for an unknown architecture.
  Model(const ModelConfig& config, ModelWeights weights, kernels::Ops& ops);

  /// Appends up to max_rows() positions to the timeline: backbone, and in pair mode the draft head's K/V rows of every
  /// position whose next slot is known. Leaves their hidden vectors in `hidden_row`. `points` count rows from here.
  RunResult extend(Timeline& timeline, std::span<const std::int32_t> slots, std::span<const SnapshotPoint> points,
                   const StopSignal* stop);
  /// As extend, and computes the draft hidden vectors of those rows too, for a teacher-forced view.
  RunResult extend_with_drafts(Timeline& timeline, std::span<const std::int32_t> slots, const StopSignal* stop);

  /// Draft hidden of the timeline's last position, followed by `next_slot`; sees rows from `first_visible` on.
  Status draft(Timeline& timeline, std::int32_t next_slot, std::int32_t first_visible);
  /// Confidence of a draft from `hidden` and `draft` [H].
  Status confidence(const float* hidden, const float* draft, float* confidence);
  /// The pre-gate's value for `hidden` [H]; only where has_pre_gate().
  Status pre_gate(const float* hidden, float* g);
  bool has_pre_gate() const { return weights_.pipo && weights_.pipo->pre_gate; }
  /// logits() = W_out hidden, hidden [H].
  Status compute_logits(const float* hidden);

  std::span<float> logits() { return {ws_.logits, static_cast<std::size_t>(config_.vocab_size)}; }
  const float* draft_result() const { return ws_.draft_hidden; }
  /// Hidden vector of row `row` of the last extend.
  const float* hidden_row(std::int32_t row) const { return ws_.hidden + std::int64_t{row + 1} * config_.hidden_size; }
  /// Draft hidden vectors of the last extend_with_drafts. Row 0 is the position before the chunk, which the chunk's
  /// first slot completes; the chunk's own first position where there is none before.
  const float* draft_row(std::int32_t row) const { return ws_.draft_hidden + std::int64_t{row} * config_.hidden_size; }

  const ModelConfig& config() const { return config_; }
  const ModelWeights& weights() const { return weights_; }
  std::int32_t max_rows() const { return ws_.max_rows(); }

 private:
  enum class DraftRows { kCacheOnly, kHidden };
  RunResult extend(Timeline& timeline, std::span<const std::int32_t> slots, std::span<const SnapshotPoint> points,
                   const StopSignal* stop, DraftRows draft_rows);
  Status latents(DecodeMode mode, std::span<const std::int32_t> slots, std::int32_t rows);
  Status complete_draft_rows(Timeline& timeline, std::span<const std::int32_t> slots, std::int32_t rows,
                             DraftRows draft_rows);
  Forward forward();

  ModelConfig config_;
  ModelWeights weights_;
  kernels::Ops& ops_;
  Workspace ws_;
  std::vector<float> inv_freq_;
  std::unique_ptr<Backbone> backbone_;
};

}  // namespace pipo
