#pragma once

#include <cstring>

#include "cache/kv_store.h"
#include "cache/recurrent_states.h"
#include "cache/timeline_states.h"

namespace pipo {

struct HostSnapshot final : Snapshot {
  explicit HostSnapshot(const StateShape& shape)
      : states(shape), hidden(static_cast<std::size_t>(shape.hidden_size)) {}

  RecurrentStates states;
  AlignedBuffer<float> hidden;  ///< [H], of the last position before the boundary
};

inline HostSnapshot& host(Snapshot& snapshot) { return static_cast<HostSnapshot&>(snapshot); }
inline const HostSnapshot& host(const Snapshot& snapshot) { return static_cast<const HostSnapshot&>(snapshot); }

/// States in the memory of the processor.
class HostStates final : public TimelineStates {
 public:
  explicit HostStates(const StateShape& shape);

  KvStore& kv() { return kv_; }
  RecurrentStates& recurrent() { return recurrent_; }

  void clear() override { recurrent_.zero(); }
  void reserve(std::int32_t positions, std::int32_t used, std::int32_t max_positions) override {
    kv_.reserve(positions, used, max_positions);
  }
  std::int32_t capacity() const override { return kv_.capacity(); }
  bool can_be_cut() const override { return shape_.n_delta_layers == 0; }
  std::int64_t snapshot_bytes() const override { return shape_.snapshot_bytes(); }
  std::unique_ptr<Snapshot> make_snapshot() override { return std::make_unique<HostSnapshot>(shape_); }
  void restore(const Snapshot& snapshot) override;
  const float* hidden() override { return hidden_.data(); }
  void set_hidden(const float* hidden) { std::memcpy(hidden_.data(), hidden, hidden_.bytes()); }

 private:
  StateShape shape_;
  KvStore kv_;
  RecurrentStates recurrent_;
  AlignedBuffer<float> hidden_;
};

}  // namespace pipo
