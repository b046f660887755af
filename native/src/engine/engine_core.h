#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "core/turn_queue.h"
#include "kernels/backend.h"
#include "model/model.h"
#include "pipo/engine.h"
#include "pipo/session.h"
#include "weights/load_weights.h"

namespace pipo {

/// The engine as its sessions see it.
class EngineCore final : public Engine {
 public:
  EngineCore(LoadedWeights loaded, std::unique_ptr<kernels::Backend> backend);

  const EngineInfo& info() const override { return info_; }
  const ModelConfig& config() const override { return loaded_.header.config; }
  std::unique_ptr<Session> create_session(std::int32_t max_positions) override;
  void close() override;

  Model& model() { return model_; }
  TurnQueue& turns() { return turns_; }
  const std::atomic<bool>& closed() const { return closed_; }
  void set_load_ms(double ms) { info_.load_ms = ms; }

 private:
  LoadedWeights loaded_;
  std::unique_ptr<kernels::Backend> backend_;
  Model model_;
  EngineInfo info_;
  TurnQueue turns_;
  std::atomic<bool> closed_{false};
};

}  // namespace pipo
