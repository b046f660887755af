#pragma once

#include <atomic>
#include <memory>

#include "cache/timeline.h"
#include "core/stop_signal.h"
#include "engine/engine_core.h"
#include "pipo/session.h"

namespace pipo {

/// A timeline, and the one request that may run on it.
class SessionCore final : public Session {
 public:
  SessionCore(std::shared_ptr<EngineCore> engine, std::int32_t max_positions);

  GenerateResult generate(const GenerateRequest& request, const StepFn& on_step) override;
  void cancel() override;
  std::vector<InspectedPosition> inspect(std::span<const std::int32_t> ids, DecodeMode mode, std::int32_t top,
                                         bool with_hidden, bool with_logits) override;
  void reset() override;
  std::int32_t positions() const override { return timeline_.positions(); }

 private:
  class Busy;
  std::vector<std::int32_t> slots_of(std::span<const std::int32_t> ids, DecodeMode mode) const;
  StopSignal stop_signal(const std::atomic<bool>* request_cancelled = nullptr) const {
    return {&cancelled_, &engine_->closed(), request_cancelled};
  }

  std::shared_ptr<EngineCore> engine_;
  Timeline timeline_;
  std::atomic<bool> cancelled_{false};
  std::atomic<bool> busy_{false};
};

}  // namespace pipo
