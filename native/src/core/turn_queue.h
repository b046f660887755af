#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>

namespace pipo {

/// First come, first served: sessions take turns on the backend, one prefill chunk or decode step at a time.
class TurnQueue {
 public:
  /// Waits for the turn. Returns false, without the turn, once `give_up` answers true (asked again after `wake`).
  bool acquire(const std::function<bool()>& give_up);
  void release();
  /// Makes waiters ask `give_up` again.
  void wake();

 private:
  struct Waiter {};
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<const Waiter*> waiting_;  // the front one has, or is about to take, the turn
  bool taken_ = false;
};

/// Holds the turn for a scope.
class Turn {
 public:
  Turn(TurnQueue& queue, const std::function<bool()>& give_up) : queue_(queue), held_(queue.acquire(give_up)) {}
  ~Turn() {
    if (held_) queue_.release();
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  explicit operator bool() const { return held_; }

 private:
  TurnQueue& queue_;
  bool held_;
};

}  // namespace pipo
