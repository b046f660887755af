#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>

namespace pipo {

/// Copy of all states at a position boundary, with the last hidden so that sampling can start at once. Made and read by
/// the TimelineStates that it was taken from.
class Snapshot {
 public:
  virtual ~Snapshot() = default;
  std::int32_t positions = 0;
};

/// A snapshot wanted after `rows` rows of a chunk. Boundaries inside a chunk cost no extra pass over the weights: only
/// the recurrence stops there.
struct SnapshotPoint {
  std::int32_t rows = 0;
  Snapshot* snapshot = nullptr;
};

/// The bytes behind a timeline, where the model computes: KV cache, recurrent and conv states, last hidden. Knows no
/// positions and no slots; those are the timeline's.
class TimelineStates {
 public:
  virtual ~TimelineStates() = default;

  /// As before the first position. KV rows need no clearing: they are written before they are seen.
  virtual void clear() = 0;
  /// Room for `positions`, keeping the first `used` rows; at most `max_positions`. Throws std::bad_alloc.
  virtual void reserve(std::int32_t positions, std::int32_t used, std::int32_t max_positions) = 0;
  virtual std::int32_t capacity() const = 0;

  /// Whether a timeline can be cut at any position without a snapshot, because nothing but KV rows is carried on.
  virtual bool can_be_cut() const { return false; }

  virtual std::int64_t snapshot_bytes() const = 0;
  /// To be filled by the model. Throws std::bad_alloc.
  virtual std::unique_ptr<Snapshot> make_snapshot() = 0;
  virtual void restore(const Snapshot& snapshot) = 0;

  /// Backbone output after its final norm at the last position, [H].
  virtual const float* hidden() = 0;

  /// Positions to make room for when `positions` are asked for: half as many again as there were, so that a timeline
  /// that grows is seldom copied.
  static std::int32_t grown(std::int32_t capacity, std::int32_t positions, std::int32_t max_positions) {
    constexpr std::int32_t kFewest = 256;
    return std::min(max_positions, std::max({positions, capacity + capacity / 2, kFewest}));
  }
};

}  // namespace pipo
