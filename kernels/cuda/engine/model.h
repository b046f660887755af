#pragma once

#include <vector>

#include "kernels/cuda/engine/resources.h"
#include "kernels/cuda/engine/weights.h"
#include "kernels/cuda/launchers.h"
#include "kernels/cuda/memory_layout.h"

namespace pipo::cuda {

/// A model on the device: weights, the workspace of one operation at a time, and the queue that orders all operations
/// of its sessions.
class Model {
 public:
  Model(const PipoCudaConfig& config, const PipoCudaTensor* tensors, int n_tensors,
        int32_t (*keep_going)(void*, double), void* context);
  ~Model();
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  const PipoCudaConfig& config() const { return config_; }
  const Widths& widths() const { return widths_; }
  const Weights& weights() const { return weights_; }
  const Workspace& workspace() const { return workspace_; }
  const Queue& queue() const { return queue_; }
  bool is_pair() const { return config_.compressor >= 0; }
  /// Kernels may start while the one before ends (compute capability 9.0 and newer).
  bool can_overlap() const { return can_overlap_; }
  /// Shares that a head's positions are split into when `positions` are attended to.
  int splits(int positions) const;

 private:
  std::vector<std::uint8_t> layer_types_;
  PipoCudaConfig config_;
  Widths widths_;
  OwnedStream stream_;
  Queue queue_;
  bool can_overlap_ = false;
  DeviceMemory weight_memory_, workspace_memory_;
  Weights weights_;
  Workspace workspace_;
};

}  // namespace pipo::cuda
