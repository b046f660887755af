#pragma once

#include <memory>
#include <vector>

#include "cache/state_shape.h"
#include "kernels/backend.h"
#include "model/forward.h"
#include "model/model.h"
#include "model/weights.h"
#include "model/workspace.h"

namespace pipo {

/// The model on the processor: its vectors are host memory, its results lie in the workspace.
class CpuModel final : public Model {
 public:
  /// `ops` must outlive the model.
  CpuModel(const ModelConfig& config, ModelWeights weights, const StateShape& shape, kernels::Ops& ops);

  std::unique_ptr<TimelineStates> make_states() override;
  RunResult extend(Timeline& timeline, std::span<const std::int32_t> slots, std::span<const SnapshotPoint> points,
                   const StopSignal* stop) override;
  RunResult extend_with_drafts(Timeline& timeline, std::span<const std::int32_t> slots,
                               const StopSignal* stop) override;
  Status draft(Timeline& timeline, std::int32_t next_slot, std::int32_t first_visible) override;
  Status confidence(Timeline&, const float* hidden, const float* draft, float* confidence) override;
  Status pre_gate(Timeline&, const float* hidden, float* g) override;
  Status compute_logits(Timeline&, const float* hidden) override;
  Status read(Timeline&, const float* vector, std::span<float> out) override;

  std::span<float> logits() override { return {ws_.logits, static_cast<std::size_t>(config_.vocab_size)}; }
  const float* draft_result(Timeline&) override { return ws_.draft_hidden; }
  const float* hidden_row(Timeline&, std::int32_t row) override {
    return ws_.hidden + std::int64_t{row + 1} * config_.hidden_size;
  }
  const float* draft_row(Timeline&, std::int32_t row) override {
    return ws_.draft_hidden + std::int64_t{row} * config_.hidden_size;
  }
  const ModelConfig& config() const override { return config_; }
  std::int32_t max_rows() const override { return ws_.max_rows(); }

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
  StateShape shape_;
  kernels::Ops& ops_;
  Workspace ws_;
  std::vector<float> inv_freq_;
};

}  // namespace pipo
