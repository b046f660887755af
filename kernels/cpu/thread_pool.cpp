#include "kernels/cpu/thread_pool.h"

namespace pipo::kernels::cpu {
namespace {

// Layout of the state word. The generation distinguishes a new loop from one that a worker has left already; that it
// wraps does no harm, a worker then only misses one loop.
constexpr std::uint32_t kInsideMask = 0xffff;
constexpr std::uint32_t kOpen = 1u << 16;
constexpr std::uint32_t kCallerSleeps = 1u << 17;
constexpr std::uint32_t kStop = 1u << 18;
constexpr std::uint32_t kGeneration = 1u << 19;
constexpr std::uint32_t kGenerationMask = ~(kGeneration - 1);

/// Longer spinning takes the time slice from a worker that the operating system has descheduled.
constexpr int kSpins = 2000;

void pause_briefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb" ::: "memory");
#endif
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  workers_.reserve(threads > 1 ? threads - 1 : 0);
  try {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { work(i); });
  } catch (...) {
    stop();
    throw;
  }
}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::stop() {
  state_.fetch_or(kStop);
  state_.notify_all();
  for (std::thread& worker : workers_) worker.join();
  workers_.clear();
}

void ThreadPool::run(const Loop& loop) {
  loop_ = loop;
  next_.store(0, std::memory_order_relaxed);
  const std::uint32_t generation = (state_.load(std::memory_order_relaxed) + kGeneration) & kGenerationMask;
  state_.store(generation | kOpen);
  state_.notify_all();
  take_indices(0);
  close_and_wait();
}

void ThreadPool::take_indices(int worker) {
  const Loop loop = loop_;
  for (int i = next_.fetch_add(1, std::memory_order_relaxed); i < loop.count;
       i = next_.fetch_add(1, std::memory_order_relaxed)) {
    loop.call(loop.context, i, worker);
  }
}

void ThreadPool::close_and_wait() {
  std::uint32_t state = state_.fetch_and(~kOpen) & ~kOpen;
  for (int spin = 0; (state & kInsideMask) != 0; ++spin) {
    if (spin < kSpins) {
      pause_briefly();
    } else {
      state = state_.fetch_or(kCallerSleeps) | kCallerSleeps;
      if ((state & kInsideMask) == 0) return;
      state_.wait(state);
    }
    state = state_.load(std::memory_order_acquire);
  }
}

void ThreadPool::work(int worker) {
  std::uint32_t last_generation = 0;
  for (;;) {
    const std::uint32_t state = wait_for_loop(last_generation);
    if ((state & kStop) != 0) return;
    if (!join(state)) continue;
    last_generation = state & kGenerationMask;
    take_indices(worker);
    leave();
  }
}

/// Returns a state with an open loop of another generation, or with kStop.
std::uint32_t ThreadPool::wait_for_loop(std::uint32_t last_generation) {
  for (int spin = 0;; ++spin) {
    const std::uint32_t state = state_.load(std::memory_order_acquire);
    const bool new_loop = (state & kOpen) != 0 && (state & kGenerationMask) != last_generation;
    if (new_loop || (state & kStop) != 0) return state;
    if (spin < kSpins) {
      pause_briefly();
    } else {
      state_.wait(state);
      spin = 0;
    }
  }
}

bool ThreadPool::join(std::uint32_t state) {
  const std::uint32_t generation = state & kGenerationMask;
  while ((state & kOpen) != 0 && (state & kGenerationMask) == generation) {
    if (state_.compare_exchange_weak(state, state + 1)) return true;
  }
  return false;
}

void ThreadPool::leave() {
  const std::uint32_t before = state_.fetch_sub(1);
  if ((before & kInsideMask) == 1 && (before & kCallerSleeps) != 0) state_.notify_all();
}

}  // namespace pipo::kernels::cpu
