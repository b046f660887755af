#pragma once

#include <cstdint>

#include "cache/timeline.h"
#include "kernels/status.h"
#include "pipo/request.h"

namespace pipo {

/// One step as a device has decided and computed it.
struct DeviceStep {
  enum class Draft : std::uint8_t { kNone, kRan, kSkipped };

  Step step;  ///< without the host's times
  Draft draft = Draft::kNone;
  bool executed = false;     ///< the pair, or in plain mode the token, has gone through the backbone
  bool row_written = false;  ///< the draft head's row of the position before is valid for the first token
};

/// Decode steps that run wholly on a device: sampling, drafting, the gate and the backbone without the host in between.
/// One request at a time per timeline; the steps of one timeline are taken in the order of their launch.
class DeviceSteps {
 public:
  virtual ~DeviceSteps() = default;

  /// False for a request with more of something than the device has room for.
  virtual bool can_run(const GenerateRequest& request) const = 0;
  /// The request's steps may use the positions that the timeline has room for.
  virtual kernels::Status begin(Timeline& timeline, const GenerateRequest& request, std::int32_t banned_id) = 0;
  /// Queues one more step; at most two may be under way. Steps after the request's last one do nothing.
  virtual kernels::Status launch(Timeline& timeline) = 0;
  /// Waits for the oldest step's first token. `any` is false when the request had ended before that step.
  virtual kernels::Status wait_first(Timeline& timeline, bool* any) = 0;
  /// Waits for the oldest step and takes it.
  virtual kernels::Status take(Timeline& timeline, bool* any, DeviceStep* out) = 0;
  /// Steps that have not begun do nothing.
  virtual void cancel(Timeline& timeline) = 0;
};

}  // namespace pipo
