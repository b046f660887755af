#include "kernels/cuda/emulation/simt.h"

#include <ucontext.h>

#include <chrono>
#include <memory>
#include <mutex>
#include <numeric>
#include <vector>

namespace pipo::simt {
namespace {

constexpr std::size_t kStackBytes = 64 << 10;

/// Fibers that have arrived wait until all live ones have.
struct Barrier {
  int arrived = 0;
  unsigned generation = 0;
};

/// Where a stack goes on. The compiler's own jumps: the library's keep signal masks and clean-ups, which cost more than
/// the kernels that are run here.
using Jump = void*[5];

struct Copy {
  void* to;
  const void* from;
  int bytes, group;
};

/// One stack for every thread number. It is entered once and then takes the place of one thread after the other.
struct Fiber {
  ucontext_t context;
  Jump jump;
  Thread place;
  bool entered = false, done = true;
  std::vector<Copy> copies;  // under way
  int groups = 0;            // of copies, committed so far
  std::unique_ptr<unsigned char[]> stack;
};

struct Block {
  std::vector<Fiber> fibers;
  int count = 0, live = 0;
  Barrier barrier;
  std::vector<Barrier> warp_barriers;
  std::vector<int> warp_live;
  // Two, in turns: who reads one cannot be overtaken by who writes the next.
  std::vector<std::uint64_t> exchange[2];
  std::vector<unsigned char> exchanges;  // of each thread, so far
  std::vector<unsigned char> shared;
  int current = 0;
  Jump scheduler;
  const std::function<void()>* body = nullptr;
};

Block g_block;
std::mutex g_mutex;

std::uint32_t random_number() {
  static std::uint32_t state = 1;
  state = state * 1664525u + 1013904223u;
  return state >> 8;
}

/// Order of turns. A device promises none between barriers, so every round has another one: a barrier that is missing
/// shows as a wrong result, and the same run shows it again.
class Order {
 public:
  explicit Order(int count) : count_(static_cast<std::uint32_t>(count)) {}
  /// Another order of 0...count - 1.
  void next() {
    first_ = random_number() % count_;
    do {
      stride_ = 1 + random_number() % count_;
    } while (std::gcd(stride_, count_) != 1);
  }
  int at(int turn) const { return static_cast<int>((first_ + std::uint64_t{stride_} * turn) % count_); }

 private:
  std::uint32_t count_, first_ = 0, stride_ = 1;
};

// A jump leaves registers changed in ways that the compiler must not reason about across these calls.
#ifdef __clang__
#define PIPO_OPAQUE [[gnu::noinline]]
#else
#define PIPO_OPAQUE [[gnu::noipa]]
#endif

PIPO_OPAQUE void leave() { __builtin_longjmp(g_block.scheduler, 1); }
PIPO_OPAQUE void go_on(Fiber& fiber) { __builtin_longjmp(fiber.jump, 1); }

PIPO_OPAQUE void yield() {
  if (__builtin_setjmp(g_block.fibers[g_block.current].jump) == 0) leave();
}

PIPO_OPAQUE void resume(Fiber& fiber) {
  if (__builtin_setjmp(g_block.scheduler) != 0) return;
  if (fiber.entered) go_on(fiber);
  fiber.entered = true;
  setcontext(&fiber.context);
}

void release_if_complete(Barrier& barrier, int live) {
  if (barrier.arrived < live || live == 0) return;
  barrier.arrived = 0;
  ++barrier.generation;
}

void wait(Barrier& barrier, int live) {
  const unsigned generation = barrier.generation;
  ++barrier.arrived;
  release_if_complete(barrier, live);
  while (barrier.generation == generation) yield();
}

void entry() {
  for (;;) {
    Block& b = g_block;
    (*b.body)();
    b.fibers[b.current].done = true;
    const int warp = b.current / kWarp;
    release_if_complete(b.barrier, --b.live);
    release_if_complete(b.warp_barriers[warp], --b.warp_live[warp]);
    yield();
  }
}

void make_stack(Fiber& f) {
  f.stack = std::make_unique<unsigned char[]>(kStackBytes);
  getcontext(&f.context);
  f.context.uc_stack.ss_sp = f.stack.get();
  f.context.uc_stack.ss_size = kStackBytes;
  f.context.uc_link = nullptr;
  makecontext(&f.context, entry, 0);
}

void run_block(dim3 place, dim3 grid, dim3 block) {
  Block& b = g_block;
  b.count = b.live = static_cast<int>(block.x * block.y * block.z);
  if (b.fibers.size() < static_cast<std::size_t>(b.count)) b.fibers.resize(b.count);
  const int warps = (b.count + kWarp - 1) / kWarp;
  b.barrier = {};
  b.warp_barriers.assign(warps, {});
  b.warp_live.assign(warps, 0);
  for (auto& values : b.exchange) values.assign(warps * kWarp, 0);
  b.exchanges.assign(b.count, 0);
  for (int i = 0; i < b.count; ++i) {
    Fiber& f = b.fibers[i];
    ++b.warp_live[i / kWarp];
    f.done = false;
    f.copies.clear();
    f.groups = 0;
    f.place = {dim3(i % block.x, i / block.x % block.y, i / (block.x * block.y)), place, block, grid};
    if (!f.stack) make_stack(f);
  }
  // Some warps begin late: others are far ahead when they come.
  constexpr unsigned kLateRounds[] = {0, 0, 5, 30};
  std::vector<unsigned> begins(warps);
  for (unsigned& round : begins) round = kLateRounds[random_number() % 4];
  Order order(b.count);
  for (unsigned round = 0; b.live > 0; ++round) {
    order.next();
    for (int turn = 0; turn < b.count; ++turn) {
      b.current = order.at(turn);
      if (!b.fibers[b.current].done && begins[b.current / kWarp] <= round) resume(b.fibers[b.current]);
    }
  }
}

}  // namespace

Thread& self() { return g_block.fibers[g_block.current].place; }
unsigned char* dynamic_shared() {
  const auto at = reinterpret_cast<std::uintptr_t>(g_block.shared.data());
  return reinterpret_cast<unsigned char*>((at + 127) / 128 * 128);
}
void sync_block() { wait(g_block.barrier, g_block.live); }
void sync_warp() {
  const int warp = g_block.current / kWarp;
  wait(g_block.warp_barriers[warp], g_block.warp_live[warp]);
}
int lane() { return g_block.current % kWarp; }

const std::uint64_t* publish(std::uint64_t value) {
  Block& b = g_block;
  std::vector<std::uint64_t>& values = b.exchange[b.exchanges[b.current]++ % 2];
  values[b.current] = value;
  const int first = b.current / kWarp * kWarp;
  sync_warp();
  return values.data() + first;
}

std::uint64_t exchange(std::uint64_t value, int from) { return publish(value)[from]; }

void copy_async(void* to, const void* from, int bytes) {
  Fiber& f = g_block.fibers[g_block.current];
  if (random_number() % 4 == 0) std::memcpy(to, from, bytes);
  else f.copies.push_back({to, from, bytes, f.groups});
}
void commit_copies() { ++g_block.fibers[g_block.current].groups; }
void wait_copies(int pending) {
  Fiber& f = g_block.fibers[g_block.current];
  std::size_t done = 0;
  for (; done < f.copies.size() && f.copies[done].group < f.groups - pending; ++done) {
    std::memcpy(f.copies[done].to, f.copies[done].from, f.copies[done].bytes);
  }
  f.copies.erase(f.copies.begin(), f.copies.begin() + static_cast<std::ptrdiff_t>(done));
}

void run(dim3 grid, dim3 block, std::size_t shared_bytes, const std::function<void()>& body) {
  const std::lock_guard lock(g_mutex);
  g_block.body = &body;
  // Filled with NaN: what a kernel reads before writing shows.
  g_block.shared.assign(shared_bytes + 128, 0xff);
  const int count = static_cast<int>(grid.x * grid.y * grid.z);
  Order order(count);
  order.next();
  for (int turn = 0; turn < count; ++turn) {
    const int i = order.at(turn);
    run_block(dim3(i % grid.x, i / grid.x % grid.y, i / (grid.x * grid.y)), grid, block);
  }
}

std::uint64_t nanoseconds() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(std::chrono::nanoseconds(now).count());
}

}  // namespace pipo::simt
