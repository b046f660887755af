#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>

#include "kernels/backend.h"
#include "kernels/cpu/thread_pool.h"

namespace pipo::kernels {
namespace {

constexpr std::int64_t kPieceBytes = 256 << 10;

/// Eight independent sums, so that the loop waits for memory and nothing else; compiled for any baseline.
std::uint64_t sum_piece(const std::uint64_t* words) {
  std::uint64_t sums[8] = {};
  for (std::int64_t i = 0; i < kPieceBytes / 8; i += 8) {
    for (int j = 0; j < 8; ++j) sums[j] ^= words[i + j];
  }
  std::uint64_t all = 0;
  for (const std::uint64_t sum : sums) all ^= sum;
  return all;
}

struct Free {
  void operator()(void* memory) const { ::operator delete(memory, std::align_val_t{4096}); }
};

}  // namespace

double measure_read_bandwidth(std::int64_t bytes, int threads, int passes) {
  const auto pieces = static_cast<int>(std::clamp<std::int64_t>(bytes / kPieceBytes, 1, 1 << 20));
  const std::int64_t total = pieces * kPieceBytes;
  const std::unique_ptr<void, Free> memory(::operator new(total, std::align_val_t{4096}, std::nothrow));
  if (memory == nullptr) return 0.0;
  cpu::ThreadPool pool(std::max(1, threads));
  pool.parallel_for(pieces, [&](int i, int) {
    std::memset(static_cast<std::byte*>(memory.get()) + i * kPieceBytes, 1, kPieceBytes);
  });
  const auto* words = static_cast<const std::uint64_t*>(memory.get());
  std::atomic<std::uint64_t> sink{0};  // keeps the loads
  double best = 0.0;
  for (int pass = 0; pass < std::max(1, passes); ++pass) {
    const auto start = std::chrono::steady_clock::now();
    pool.parallel_for(pieces, [&](int i, int) {
      sink.fetch_xor(sum_piece(words + i * (kPieceBytes / 8)), std::memory_order_relaxed);
    });
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    best = std::max(best, static_cast<double>(total) / elapsed.count());
  }
  return best;
}

}  // namespace pipo::kernels
