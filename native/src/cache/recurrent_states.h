#pragma once

#include "cache/state_shape.h"
#include "core/aligned_buffer.h"

namespace pipo {

/// Recurrent and conv state of every gated delta layer, fp32, in one block so that a snapshot is one copy per layer.
class RecurrentStates {
 public:
  explicit RecurrentStates(const StateShape& shape)
      : layer_floats_(shape.delta_floats()),
        recurrent_floats_(shape.recurrent_floats),
        memory_(static_cast<std::size_t>(shape.n_delta_layers * shape.delta_floats())) {
    zero();
  }

  void zero() { memory_.zero(); }
  kernels::DeltaNetState layer(std::int32_t index) {
    float* at = memory_.data() + index * layer_floats_;
    return {at, at + recurrent_floats_};
  }
  void copy_from(const RecurrentStates& other) {
    if (memory_.size() != 0) std::memcpy(memory_.data(), other.memory_.data(), memory_.bytes());
  }
  void copy_layer_from(const RecurrentStates& other, std::int32_t index) {
    const std::size_t at = static_cast<std::size_t>(index * layer_floats_);
    std::memcpy(memory_.data() + at, other.memory_.data() + at, layer_floats_ * sizeof(float));
  }

 private:
  std::int64_t layer_floats_;
  std::int64_t recurrent_floats_;
  AlignedBuffer<float> memory_;
};

}  // namespace pipo
