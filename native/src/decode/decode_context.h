#pragma once

#include <optional>

#include "cache/timeline.h"
#include "core/stop_signal.h"
#include "core/turn_queue.h"
#include "decode/sampler.h"
#include "model/model.h"
#include "pipo/request.h"
#include "pipo/result.h"
#include "pipo/session.h"
#include "platform/clock.h"

namespace pipo {

/// Throws kInternal when an operation of `model` failed: the states are lost, the request cannot go on.
void require_ok(Status status, const Model& model);

/// Everything one running request works with.
struct DecodeContext {
  Model& model;
  Timeline& timeline;
  TurnQueue& turns;
  StopSignal stop;
  const GenerateRequest& request;
  Sampler& sampler;
  std::int32_t banned_id;  ///< PAD in pair mode; kNoToken: none
  const StepFn& on_step;
  Stopwatch clock;  ///< since submission
  GenerateResult& result;

  StopReason stop_reason() const {
    return stop.engine_closed->load() ? StopReason::kEngineClosed : StopReason::kCancelled;
  }
  bool is_stop_id(std::int32_t id) const;
  void require_ok(Status status) const { pipo::require_ok(status, model); }
  /// Adds a finished step to the result and hands it on. Returns why generation ends with it, if it does.
  std::optional<StopReason> finish_step(const Step& step);
};

/// Brings the timeline to the end of `slots`, computing only what it has not executed, chunk by chunk, a turn each.
/// Leaves snapshots near the end, for prompts that differ in their last few slots. Returns why it stopped, if it did.
std::optional<StopReason> prefill(DecodeContext& c, std::span<const std::int32_t> slots);

/// Decodes from the end of the prompt until something ends it: with the model's device steps where they can run the
/// request, else operation by operation.
StopReason decode(DecodeContext& c);
StopReason decode_pairs(DecodeContext& c);
StopReason decode_plain(DecodeContext& c);
StopReason decode_on_device(DecodeContext& c, DeviceSteps& steps);

}  // namespace pipo
