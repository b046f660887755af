#include "cache/snapshot_store.h"

#include <algorithm>
#include <new>

namespace pipo {

SnapshotStore::SnapshotStore(TimelineStates& states)
    : states_(states), capacity_(static_cast<std::size_t>(capacity(states.snapshot_bytes()))) {}

std::int32_t SnapshotStore::capacity(std::int64_t snapshot_bytes) {
  return static_cast<std::int32_t>(std::clamp<std::int64_t>(kBudgetBytes / snapshot_bytes, kFewest, kMost));
}

std::unique_ptr<Snapshot> SnapshotStore::take_free(std::int32_t positions) {
  if (free_.empty() && kept_.size() + lent_ >= capacity_) evict_cheapest();
  std::unique_ptr<Snapshot> snapshot;
  if (!free_.empty()) {
    snapshot = std::move(free_.back());
    free_.pop_back();
  } else if (kept_.size() + lent_ < capacity_) {
    try {
      snapshot = states_.make_snapshot();
    } catch (const std::bad_alloc&) {
    }
  }
  if (!snapshot) return nullptr;
  ++lent_;
  snapshot->positions = positions;
  return snapshot;
}

void SnapshotStore::give_back(std::unique_ptr<Snapshot> snapshot) {
  --lent_;
  free_.push_back(std::move(snapshot));
}

void SnapshotStore::add(std::unique_ptr<Snapshot> snapshot) {
  --lent_;
  const auto after = [](const std::unique_ptr<Snapshot>& s, std::int32_t p) { return s->positions < p; };
  const auto at = std::lower_bound(kept_.begin(), kept_.end(), snapshot->positions, after);
  kept_.insert(at, std::move(snapshot));
}

const Snapshot* SnapshotStore::latest_up_to(std::int32_t positions) const {
  const Snapshot* best = nullptr;
  for (const auto& snapshot : kept_) {
    if (snapshot->positions <= positions) best = snapshot.get();
  }
  return best;
}

bool SnapshotStore::has(std::int32_t positions) const {
  const Snapshot* found = latest_up_to(positions);
  return found != nullptr && found->positions == positions;
}

void SnapshotStore::drop_after(std::int32_t positions) {
  while (!kept_.empty() && kept_.back()->positions > positions) {
    free_.push_back(std::move(kept_.back()));
    kept_.pop_back();
  }
}

void SnapshotStore::evict_cheapest() {
  if (kept_.empty()) return;
  const double end = kept_.back()->positions;
  std::size_t cheapest = 0;
  double least = 0;
  for (std::size_t i = 0; i + 1 < kept_.size(); ++i) {  // the last one stays, unless it is the only one
    const double before = i == 0 ? 0 : kept_[i - 1]->positions;
    const double cost = (kept_[i + 1]->positions - before) / (end - before + 1);
    if (i == 0 || cost < least) {
      cheapest = i;
      least = cost;
    }
  }
  free_.push_back(std::move(kept_[cheapest]));
  kept_.erase(kept_.begin() + static_cast<std::ptrdiff_t>(cheapest));
}

}  // namespace pipo
