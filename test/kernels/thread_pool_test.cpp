#include "kernels/cpu/thread_pool.h"

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "test/support/check.h"

namespace pipo::kernels::cpu {
namespace {

constexpr int kThreadCounts[] = {1, 2, 3, 8};

/// A loop without atomics in the body: its writes must be visible to the caller, and to the next loop.
TEST("every index runs exactly once, and the caller sees the results") {
  for (const int threads : kThreadCounts) {
    ThreadPool pool(threads);
    CHECK(pool.threads() == threads);
    std::vector<int> values(1000, 0);
    for (int round = 0; round < 200; ++round) {
      const int count = round * 5 % 1000;
      pool.parallel_for(count, [&](int i, int) { values[i] += 1; });
    }
    std::vector<int> expected(1000, 0);
    for (int round = 0; round < 200; ++round) {
      for (int i = 0; i < round * 5 % 1000; ++i) expected[i] += 1;
    }
    CHECK(values == expected);
  }
}

TEST("worker numbers are distinct among the threads inside a loop") {
  for (const int threads : kThreadCounts) {
    ThreadPool pool(threads);
    std::vector<std::atomic<int>> inside(threads);
    std::atomic<bool> shared{false};
    for (int round = 0; round < 300; ++round) {
      pool.parallel_for(16, [&](int, int worker) {
        if (inside.at(worker).fetch_add(1) != 0) shared = true;
        inside.at(worker).fetch_sub(1);
      });
    }
    CHECK(!shared);
  }
}

TEST("loops after a pause wake sleeping workers") {
  ThreadPool pool(3);
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    std::atomic<int> started{0};
    // Each index waits until all three run: this ends only if both workers come.
    pool.parallel_for(3, [&](int, int) {
      started.fetch_add(1);
      while (started.load() < 3) std::this_thread::yield();
    });
    CHECK(started == 3);
  }
}

TEST("the caller sleeps while a worker finishes a long piece, and is woken") {
  ThreadPool pool(2);
  for (int round = 0; round < 5; ++round) {
    std::atomic<int> done{0};
    pool.parallel_for(2, [&](int, int worker) {
      if (worker != 0) std::this_thread::sleep_for(std::chrono::milliseconds(30));
      done.fetch_add(1);
    });
    CHECK(done == 2);
  }
}

TEST("empty loops and loops of one stay on the caller") {
  ThreadPool pool(4);
  pool.parallel_for(0, [](int, int) { CHECK(false); });
  pool.parallel_for(-3, [](int, int) { CHECK(false); });
  const std::thread::id caller = std::this_thread::get_id();
  pool.parallel_for(1, [&](int, int worker) { CHECK(worker == 0 && std::this_thread::get_id() == caller); });
}

TEST("pools come and go with their threads") {
  for (int round = 0; round < 50; ++round) {
    ThreadPool unused(4);
    ThreadPool used(4);
    std::atomic<int> sum{0};
    used.parallel_for(round, [&](int i, int) { sum += i; });
    CHECK(sum == round * (round - 1) / 2);
  }
}

TEST("many short loops in a row") {
  ThreadPool pool(4);
  long sum = 0;
  std::vector<int> parts(8);
  for (int round = 0; round < 20000; ++round) {
    pool.parallel_for(8, [&](int i, int) { parts[i] = round + i; });
    for (const int part : parts) sum += part;
  }
  CHECK(sum == 8L * 20000 * 19999 / 2 + 20000L * 28);
}

}  // namespace
}  // namespace pipo::kernels::cpu

int main(int argc, char** argv) { return pipo::test::run(argc, argv); }
