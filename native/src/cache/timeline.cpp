#include "cache/timeline.h"

#include <algorithm>

namespace pipo {

Timeline::Timeline(std::unique_ptr<TimelineStates> states, std::int32_t max_positions)
    : max_positions_(max_positions), states_(std::move(states)), snapshots_(*states_) {}

void Timeline::reset(DecodeMode mode) {
  mode_ = mode;
  snapshots_.drop_after(0);
  restore(nullptr);
}

std::int32_t Timeline::rewind_to_match(DecodeMode mode, std::span<const std::int32_t> slots) {
  if (mode != mode_) reset(mode);
  const auto [end, unused] = std::mismatch(slots_.begin(), slots_.end(), slots.begin(), slots.end());
  const auto matching = static_cast<std::int32_t>(end - slots_.begin()) / slots_per_position();
  snapshots_.drop_after(matching);
  if (matching == positions_ && !changing_) return positions_;
  if (states_->can_be_cut()) {
    cut(matching);
  } else {
    restore(snapshots_.latest_up_to(matching));
  }
  return positions_;
}

/// The hidden vector at the cut is not kept, and whatever comes next needs it: the last position before is executed again.
/// The draft head's row before that one was completed by the slot that follows it still.
void Timeline::cut(std::int32_t positions) {
  changing_ = false;
  positions_ = std::max(positions - 1, 0);
  const auto kept = static_cast<std::size_t>(positions_) * slots_per_position();
  draft_row_slot_ = positions_ > 0 ? slots_[kept] : kNoToken;
  slots_.resize(kept);
  if (positions_ == 0) states_->clear();
}

void Timeline::reserve(std::int32_t positions) {
  if (positions <= states_->capacity()) return;
  states_->reserve(positions, positions_, max_positions_);
  slots_.reserve(static_cast<std::size_t>(states_->capacity()) * slots_per_position());
}

void Timeline::commit(std::span<const std::int32_t> slots) {
  slots_.insert(slots_.end(), slots.begin(), slots.end());
  positions_ = static_cast<std::int32_t>(slots_.size()) / slots_per_position();
  changing_ = false;
  draft_row_slot_ = kNoToken;
}

void Timeline::restore(const Snapshot* snapshot) {
  changing_ = false;
  draft_row_slot_ = kNoToken;
  positions_ = snapshot == nullptr ? 0 : snapshot->positions;
  slots_.resize(static_cast<std::size_t>(positions_) * slots_per_position());
  if (snapshot == nullptr) {
    states_->clear();
  } else {
    states_->restore(*snapshot);
  }
}

}  // namespace pipo
