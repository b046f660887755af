#include "kernels/cuda/emulation/simt.h"

#include <csetjmp>

#include <ucontext.h>

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

struct Fiber {
  ucontext_t context;  // only its first entry: switching contexts asks the kernel each time, jumping does not
  jmp_buf jump;
  Thread place;
  bool started = false, done = false;
  std::unique_ptr<unsigned char[]> stack;
};

struct Block {
  std::vector<Fiber> fibers;
  int count = 0, live = 0;
  Barrier barrier;
  std::vector<Barrier> warp_barriers;
  std::vector<int> warp_live;
  std::vector<std::uint64_t> exchange;
  std::vector<unsigned char> shared;
  int current = 0;
  jmp_buf scheduler;
  const std::function<void()>* body = nullptr;
};

Block g_block;
std::mutex g_mutex;

/// Order of turns. A device promises none between barriers, so every round has another one: a barrier that is missing
/// shows as a wrong result, and the same run shows it again.
class Order {
 public:
  void shuffle(std::vector<int>& values) {
    for (std::size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[next() % i]);
  }

 private:
  std::uint32_t next() {
    state_ = state_ * 1664525u + 1013904223u;
    return state_ >> 8;
  }
  std::uint32_t state_ = 1;
};
Order g_order;

std::vector<int> counted(int count) {
  std::vector<int> values(static_cast<std::size_t>(count));
  std::iota(values.begin(), values.end(), 0);
  return values;
}

void yield() {
  if (_setjmp(g_block.fibers[g_block.current].jump) == 0) _longjmp(g_block.scheduler, 1);
}

void resume(Fiber& fiber) {
  if (_setjmp(g_block.scheduler) != 0) return;
  if (fiber.started) _longjmp(fiber.jump, 1);
  fiber.started = true;
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
  (*g_block.body)();
  Block& b = g_block;
  b.fibers[b.current].done = true;
  const int warp = b.current / kWarp;
  release_if_complete(b.barrier, --b.live);
  release_if_complete(b.warp_barriers[warp], --b.warp_live[warp]);
  yield();
}

void run_block(dim3 place, dim3 grid, dim3 block) {
  Block& b = g_block;
  b.count = b.live = static_cast<int>(block.x * block.y * block.z);
  if (b.fibers.size() < static_cast<std::size_t>(b.count)) b.fibers.resize(b.count);
  const int warps = (b.count + kWarp - 1) / kWarp;
  b.barrier = {};
  b.warp_barriers.assign(warps, {});
  b.warp_live.assign(warps, 0);
  b.exchange.assign(warps * kWarp, 0);
  for (int i = 0; i < b.count; ++i) {
    Fiber& f = b.fibers[i];
    ++b.warp_live[i / kWarp];
    f.started = f.done = false;
    f.place = {dim3(i % block.x, i / block.x % block.y, i / (block.x * block.y)), place, block, grid};
    if (!f.stack) f.stack = std::make_unique<unsigned char[]>(kStackBytes);
    getcontext(&f.context);
    f.context.uc_stack.ss_sp = f.stack.get();
    f.context.uc_stack.ss_size = kStackBytes;
    f.context.uc_link = nullptr;
    makecontext(&f.context, entry, 0);
  }
  std::vector<int> turns = counted(b.count);
  while (b.live > 0) {
    g_order.shuffle(turns);
    for (const int i : turns) {
      if (b.fibers[i].done) continue;
      b.current = i;
      resume(b.fibers[i]);
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
  g_block.exchange[g_block.current] = value;
  sync_warp();
  return g_block.exchange.data() + g_block.current / kWarp * kWarp;
}

std::uint64_t exchange(std::uint64_t value, int from) {
  const int warp = g_block.current / kWarp;
  g_block.exchange[g_block.current] = value;
  sync_warp();
  const std::uint64_t found = g_block.exchange[warp * kWarp + from];
  sync_warp();
  return found;
}

void run(dim3 grid, dim3 block, std::size_t shared_bytes, const std::function<void()>& body) {
  const std::lock_guard lock(g_mutex);
  g_block.body = &body;
  // Filled with NaN: what a kernel reads before writing shows.
  g_block.shared.assign(shared_bytes + 128, 0xff);
  std::vector<int> blocks = counted(static_cast<int>(grid.x * grid.y * grid.z));
  g_order.shuffle(blocks);
  for (const int i : blocks) run_block(dim3(i % grid.x, i / grid.x % grid.y, i / (grid.x * grid.y)), grid, block);
}

}  // namespace pipo::simt
