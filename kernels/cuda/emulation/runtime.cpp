#include "kernels/cuda/emulation/runtime.h"

#include <chrono>
#include <cstdio>
#include <mutex>
#include <new>
#include <unordered_map>
#include <vector>

#include "kernels/cuda/runtime.h"

/// The emulated device runs everything where it is queued. A graph is a list of launches with their arguments as they
/// were when recorded, so an argument that should have been a word in device memory shows.
namespace pipo::simt {
namespace {

using Work = std::function<void()>;
struct QueueOfWork {
  bool capturing = false;
  std::vector<Work> recorded;
};
struct RecordedGraph {
  std::vector<Work> work;
};
struct Moment {
  std::chrono::steady_clock::time_point at;
};
std::mutex g_memory_mutex;
std::unordered_map<void*, std::int64_t> g_sizes;

}  // namespace

Memory& memory() {
  static Memory all;
  return all;
}

void submit(void* stream, Work work) {
  auto* queue = static_cast<QueueOfWork*>(stream);
  if (queue != nullptr && queue->capturing) queue->recorded.push_back(std::move(work));
  else work();
}

}  // namespace pipo::simt

namespace pipo::cuda::runtime {
namespace {

constexpr int kOutOfMemory = 2;
constexpr std::align_val_t kAlign{256};
simt::QueueOfWork* as_queue(Stream stream) { return static_cast<simt::QueueOfWork*>(stream); }

int take(void** at, std::int64_t bytes, std::int64_t counted) {
  const std::lock_guard lock(simt::g_memory_mutex);
  simt::Memory& m = simt::memory();
  if (m.used + counted > m.limit) return kOutOfMemory;
  *at = ::operator new(static_cast<std::size_t>(bytes), kAlign);
  std::memset(*at, 0xff, static_cast<std::size_t>(bytes));  // NaN: what is read before it is written shows
  simt::g_sizes[*at] = counted;
  m.used += counted;
  m.most_used = std::max(m.most_used, m.used);
  ++m.allocations;
  return 0;
}

void give_back(void* at) {
  if (at == nullptr) return;
  const std::lock_guard lock(simt::g_memory_mutex);
  simt::memory().used -= simt::g_sizes[at];
  simt::g_sizes.erase(at);
  --simt::memory().allocations;
  ::operator delete(at, kAlign);
}

}  // namespace

PipoCudaStatus describe(PipoCudaDevice* out, PipoCudaError*) {
  std::snprintf(out->name, sizeof out->name, "emulated");
  out->capability_major = 9;
  out->capability_minor = 0;
  out->multiprocessors = 2;
  out->driver_version = out->runtime_version = 13000;
  out->total_bytes = simt::memory().limit;
  out->free_bytes = simt::memory().limit - simt::memory().used;
  return kPipoCudaOk;
}

int most_shared_bytes(int* bytes) {
  *bytes = 99 << 10;
  return 0;
}

int allocate(void** at, std::int64_t bytes) { return take(at, bytes, bytes); }
void release(void* at) { give_back(at); }
int allocate_pinned(void** at, std::int64_t bytes) { return take(at, bytes, 0); }
void release_pinned(void* at) { give_back(at); }

int copy(void* to, const void* from, std::int64_t bytes, Stream stream) {
  simt::submit(stream, [=] { std::memcpy(to, from, static_cast<std::size_t>(bytes)); });
  return 0;
}
int fill(void* at, int byte, std::int64_t bytes, Stream stream) {
  simt::submit(stream, [=] { std::memset(at, byte, static_cast<std::size_t>(bytes)); });
  return 0;
}

int create_stream(Stream* stream) {
  *stream = new simt::QueueOfWork;
  return 0;
}
void destroy_stream(Stream stream) { delete as_queue(stream); }
int synchronize(Stream) { return 0; }
int poll(Stream, bool* idle) {
  *idle = true;
  return 0;
}

int create_event(Event* event) {
  *event = new simt::Moment;
  return 0;
}
void destroy_event(Event event) { delete static_cast<simt::Moment*>(event); }
int record(Event event, Stream) {
  static_cast<simt::Moment*>(event)->at = std::chrono::steady_clock::now();
  return 0;
}
int wait(Event) { return 0; }
int milliseconds(Event from, Event to, float* out) {
  const auto passed = static_cast<simt::Moment*>(to)->at - static_cast<simt::Moment*>(from)->at;
  *out = std::chrono::duration<float, std::milli>(passed).count();
  return 0;
}

int begin_capture(Stream stream) {
  as_queue(stream)->capturing = true;
  return 0;
}
int end_capture(Stream stream, Graph* graph) {
  simt::QueueOfWork& queue = *as_queue(stream);
  queue.capturing = false;
  if (*graph == nullptr) *graph = new simt::RecordedGraph;
  static_cast<simt::RecordedGraph*>(*graph)->work = std::move(queue.recorded);
  queue.recorded.clear();
  return 0;
}
int launch(Graph graph, Stream) {
  for (const simt::Work& work : static_cast<simt::RecordedGraph*>(graph)->work) work();
  return 0;
}
void destroy_graph(Graph graph) { delete static_cast<simt::RecordedGraph*>(graph); }

bool is_out_of_memory(int code) { return code == kOutOfMemory; }
const char* error_text(int code) { return is_out_of_memory(code) ? "out of memory" : "emulated error"; }

}  // namespace pipo::cuda::runtime
