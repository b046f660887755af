#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace pipo::kernels::cpu {

/// Workers that share one loop at a time. The caller takes part; indices are handed out one by one, so a worker that
/// the operating system holds back delays at most the index it has begun. Idle workers spin for some tens of
/// microseconds, which covers the gaps between the operations of a decode step, and then sleep.
class ThreadPool {
 public:
  /// `threads` >= 1 counts the caller. Throws std::system_error if a thread cannot be started.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  /// body(i, worker) for every i in [0, count), each once, in any order and on any thread; returns when all are done.
  /// `worker` in [0, threads()) is a different one for each thread inside the loop. One loop at a time, from one thread
  /// at a time; `body` must not throw. A loop of one runs on the caller without any wake-up.
  template <class Body>
  void parallel_for(int count, const Body& body) {
    if (count <= 1 || workers_.empty()) {
      for (int i = 0; i < count; ++i) body(i, 0);
      return;
    }
    const auto call = [](const void* context, int i, int worker) { (*static_cast<const Body*>(context))(i, worker); };
    run({call, &body, count});
  }

 private:
  struct Loop {
    void (*call)(const void* context, int index, int worker) = nullptr;
    const void* context = nullptr;
    int count = 0;
  };

  void run(const Loop& loop);
  void take_indices(int worker);
  void close_and_wait();
  void work(int worker);
  std::uint32_t wait_for_loop(std::uint32_t last_generation);
  bool join(std::uint32_t state);
  void leave();
  void stop();

  // Everything the threads agree on is one word: who is inside the loop, whether it may still be entered, which loop it
  // is. A worker that wakes late finds the loop closed and is not waited for.
  alignas(64) std::atomic<std::uint32_t> state_{0};
  alignas(64) std::atomic<std::int32_t> next_{0};
  Loop loop_;
  std::vector<std::thread> workers_;
};

}  // namespace pipo::kernels::cpu
