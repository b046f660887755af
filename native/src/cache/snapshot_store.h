#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "cache/timeline_states.h"

namespace pipo {

/// The snapshots of one timeline, in order of position, within a budget of bytes. When it is full, the one goes whose
/// loss would cost least: where neighbours are near, seen from the end of the timeline.
class SnapshotStore {
 public:
  static constexpr std::int64_t kBudgetBytes = 256 << 20;
  static constexpr std::int32_t kFewest = 3, kMost = 16;

  /// Of snapshots that `states` makes; it must outlive them.
  explicit SnapshotStore(TimelineStates& states);

  /// A snapshot to be filled for `positions`, not visible until `add`; may cost an old one. Null when memory is short:
  /// snapshots are optional.
  std::unique_ptr<Snapshot> take_free(std::int32_t positions);
  void give_back(std::unique_ptr<Snapshot> snapshot);
  void add(std::unique_ptr<Snapshot> snapshot);

  /// The latest snapshot at or before `positions`; null when there is none.
  const Snapshot* latest_up_to(std::int32_t positions) const;
  bool has(std::int32_t positions) const;
  /// Forgets snapshots after `positions`: the timeline takes another turn there.
  void drop_after(std::int32_t positions);
  std::size_t size() const { return kept_.size(); }

  /// How many snapshots of that size a timeline keeps.
  static std::int32_t capacity(std::int64_t snapshot_bytes);

 private:
  void evict_cheapest();

  TimelineStates& states_;
  std::size_t capacity_;
  std::size_t lent_ = 0;                         // taken and neither given back nor added
  std::vector<std::unique_ptr<Snapshot>> kept_;  // ascending positions
  std::vector<std::unique_ptr<Snapshot>> free_;
};

}  // namespace pipo
