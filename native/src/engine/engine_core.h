#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "core/turn_queue.h"
#include "engine/model_opener.h"
#include "pipo/engine.h"
#include "pipo/session.h"
#include "weights/load_weights.h"

namespace pipo {

/// The engine as its sessions see it.
class EngineCore final : public Engine {
 public:
  EngineCore(LoadedWeights loaded, OpenedModel opened);

  const EngineInfo& info() const override { return info_; }
  const ModelConfig& config() const override { return loaded_.header.config; }
  std::unique_ptr<Session> create_session(std::int32_t max_positions) override;
  void close() override;

  Model& model() { return *opened_.model; }
  TurnQueue& turns() { return turns_; }
  const std::atomic<bool>& closed() const { return closed_; }
  void set_load_ms(double ms) { info_.load_ms = ms; }

 private:
  /// Throws kNotEnoughMemory when a session of that size does not fit.
  void require_memory(std::int32_t max_positions) const;

  LoadedWeights loaded_;
  OpenedModel opened_;
  EngineInfo info_;
  TurnQueue turns_;
  std::atomic<bool> closed_{false};
};

}  // namespace pipo
