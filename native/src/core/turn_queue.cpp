#include "core/turn_queue.h"

#include <algorithm>

namespace pipo {

bool TurnQueue::acquire(const std::function<bool()>& give_up) {
  std::unique_lock lock(mutex_);
  if (give_up()) return false;
  const Waiter me;
  waiting_.push_back(&me);
  bool gave_up = false;
  changed_.wait(lock, [&] {
    gave_up = give_up();
    return gave_up || (!taken_ && waiting_.front() == &me);
  });
  waiting_.erase(std::find(waiting_.begin(), waiting_.end(), &me));
  if (gave_up) {
    changed_.notify_all();
    return false;
  }
  taken_ = true;
  return true;
}

void TurnQueue::release() {
  {
    const std::lock_guard lock(mutex_);
    taken_ = false;
  }
  changed_.notify_all();
}

void TurnQueue::wake() {
  {
    const std::lock_guard lock(mutex_);
  }
  changed_.notify_all();
}

}  // namespace pipo
