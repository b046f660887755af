#pragma once

#include <cstddef>

#include "cache/state_shape.h"
#include "core/aligned_buffer.h"

namespace pipo {

/// Keys and values of every full-attention layer, and of the draft head as the last one. Rows are positions; rows
/// beyond the timeline's length are free to be overwritten, so shortening a timeline costs nothing here.
class KvStore {
 public:
  explicit KvStore(const StateShape& shape);

  /// Room for `positions`, keeping the first `used` rows; grows by half at least. Throws std::bad_alloc.
  void reserve(std::int32_t positions, std::int32_t used, std::int32_t max_positions);
  std::int32_t capacity() const { return capacity_; }

  kernels::KvCache layer(std::int32_t index);
  kernels::KvCache draft_head() { return layer(shape_.n_attention_layers); }

 private:
  std::size_t plane_bytes(std::int32_t positions) const {
    return static_cast<std::size_t>(positions * shape_.kv_width * shape_.kv_element_bytes());
  }

  StateShape shape_;
  std::int32_t n_planes_;  // keys and values of each layer
  std::int32_t capacity_ = 0;
  AlignedBuffer<std::byte> memory_;
};

}  // namespace pipo
