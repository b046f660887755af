#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "pipo/request.h"
#include "pipo/result.h"

namespace pipo {

/// Called once per decode step, in order, on the thread that generates; returning false stops generation.
using StepFn = std::function<bool(const Step&)>;

/// One mutable timeline over a loaded model. One request at a time; `cancel` and `close` may come from any thread.
class Session {
 public:
  virtual ~Session() = default;

  /// Runs one request. The prompt is the whole prompt: what the session has already executed of it is not recomputed.
  /// Throws for a bad request, before any work, and kInternal when a kernel fails; otherwise a StopReason tells why it
  /// ended.
  virtual GenerateResult generate(const GenerateRequest& request, const StepFn& on_step = {}) = 0;

  /// Stops the running request within one decode step or one layer of prefill.
  virtual void cancel() = 0;

  /// Teacher-forced logits, the `top` best per position and where asked for all of the first token's. Resets the timeline. Pair mode pads an odd prompt with PAD.
  virtual std::vector<InspectedPosition> inspect(std::span<const std::int32_t> ids, DecodeMode mode, std::int32_t top,
                                                 bool with_hidden = false, bool with_logits = false) = 0;

  virtual void reset() = 0;
  /// Positions executed so far.
  virtual std::int32_t positions() const = 0;
};

}  // namespace pipo
