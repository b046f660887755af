#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "cache/snapshot_store.h"
#include "cache/timeline_states.h"
#include "pipo/request.h"
#include "pipo/result.h"

namespace pipo {

/// What a session has executed, and every state that follows from it. A position is a pair in pair mode, a token in
/// plain mode; its slots are what it was made of, PAD included.
///
/// The draft head's row of a position depends on the slot after it: the last row is valid for one next slot only.
class Timeline {
 public:
  Timeline(std::unique_ptr<TimelineStates> states, std::int32_t max_positions);

  DecodeMode mode() const { return mode_; }
  std::int32_t positions() const { return positions_; }
  std::int32_t max_positions() const { return max_positions_; }
  std::span<const std::int32_t> slots() const { return slots_; }
  std::int32_t slots_per_position() const { return mode_ == DecodeMode::kPair ? 2 : 1; }

  TimelineStates& states() { return *states_; }
  SnapshotStore& snapshots() { return snapshots_; }
  /// Backbone output after its final norm at the last position, [H].
  const float* hidden() { return states_->hidden(); }

  /// The slot after the last position that the draft head's last row was computed for; kNoToken: not computed.
  std::int32_t draft_row_slot() const { return draft_row_slot_; }
  void set_draft_row_slot(std::int32_t slot) { draft_row_slot_ = slot; }

  void reset(DecodeMode mode);
  /// Goes back to where `slots` stops being what was executed: one position less where states can be cut, else to the
  /// nearest snapshot before that; to the start in another mode. Returns the positions that need not be computed again.
  std::int32_t rewind_to_match(DecodeMode mode, std::span<const std::int32_t> slots);
  /// Room for `positions`; may move the KV cache. Throws std::bad_alloc.
  void reserve(std::int32_t positions);

  /// Between `begin_change` and `commit` the states are neither the old nor the new ones; a stop in between is repaired
  /// by the next rewind.
  void begin_change() { changing_ = true; }
  void commit(std::span<const std::int32_t> slots);

 private:
  void restore(const Snapshot* snapshot);
  void cut(std::int32_t positions);

  std::int32_t max_positions_;
  DecodeMode mode_ = DecodeMode::kPair;
  std::int32_t positions_ = 0;
  bool changing_ = false;
  std::int32_t draft_row_slot_ = kNoToken;
  std::vector<std::int32_t> slots_;
  std::unique_ptr<TimelineStates> states_;
  SnapshotStore snapshots_;
};

}  // namespace pipo
