#pragma once

#include <memory>
#include <span>
#include <string>

#include "cache/timeline.h"
#include "core/stop_signal.h"
#include "kernels/status.h"
#include "model/device_steps.h"
#include "model/run_result.h"
#include "pipo/model_description.h"

namespace pipo {

/// The model in terms of slots and positions: everything under a session. Operations run one at a time (see TurnQueue);
/// results stay until the next one.
///
/// Vectors lie where the model computes, which need not be host memory: they are handed back to it, and only `read`
/// looks into them. All are [H], fp32, and belong to the timeline they came from.
class Model {
 public:
  virtual ~Model() = default;

  /// The states of a new timeline; the model must outlive them. Throws kNotEnoughMemory or std::bad_alloc.
  virtual std::unique_ptr<TimelineStates> make_states() = 0;

  /// Appends up to max_rows() positions to the timeline: backbone, and in pair mode the draft head's K/V rows of every
  /// position whose next slot is known. Leaves their hidden vectors in `hidden_row`. `points` count rows from here.
  virtual RunResult extend(Timeline& timeline, std::span<const std::int32_t> slots,
                           std::span<const SnapshotPoint> points, const StopSignal* stop) = 0;
  /// As extend, and computes the draft hidden vectors of those rows too, for a teacher-forced view.
  virtual RunResult extend_with_drafts(Timeline& timeline, std::span<const std::int32_t> slots,
                                       const StopSignal* stop) = 0;

  /// Draft hidden of the timeline's last position, followed by `next_slot`; sees rows from `first_visible` on.
  virtual Status draft(Timeline& timeline, std::int32_t next_slot, std::int32_t first_visible) = 0;
  /// Confidence of a draft.
  virtual Status confidence(Timeline& timeline, const float* hidden, const float* draft, float* confidence) = 0;
  /// The pre-gate's value for `hidden`; only where has_pre_gate().
  virtual Status pre_gate(Timeline& timeline, const float* hidden, float* g) = 0;
  /// logits() = W_out hidden.
  virtual Status compute_logits(Timeline& timeline, const float* hidden) = 0;
  /// [vocab_size] in host memory, the caller's to change.
  virtual std::span<float> logits() = 0;

  virtual const float* draft_result(Timeline& timeline) = 0;
  /// Hidden vector of row `row` of the last extend.
  virtual const float* hidden_row(Timeline& timeline, std::int32_t row) = 0;
  /// Draft hidden vectors of the last extend_with_drafts. Row 0 is the position before the chunk, which the chunk's
  /// first slot completes; the chunk's own first position where there is none before.
  virtual const float* draft_row(Timeline& timeline, std::int32_t row) = 0;
  /// Copies a vector to the host.
  virtual Status read(Timeline& timeline, const float* vector, std::span<float> out) = 0;

  virtual const ModelConfig& config() const = 0;
  virtual std::int32_t max_rows() const = 0;
  bool has_pre_gate() const { return config().pipo && config().pipo->pre_gate; }

  /// Decode steps without the host in between; null where the model has none.
  virtual DeviceSteps* device_steps() { return nullptr; }
  /// Words for the last failure, which say what to do; empty where the model has none of its own.
  virtual std::string last_error() const { return {}; }
  /// Why a session of that many positions cannot be had on the device; empty when it can, or where there is none.
  virtual std::string session_refusal(std::int32_t max_positions) const { return {}; }
};

}  // namespace pipo
