#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "kernels/block_formats.h"
#include "test/support/aligned.h"

/// How fast blocks of a file become a packed matrix: megabytes of the file per second, the best of a few passes.
/// usage: pipo_pack_bench [threads, 2]
namespace {

using namespace pipo::kernels;
using Clock = std::chrono::steady_clock;

struct Format {
  const char* name;
  BlockFormat format;
};

constexpr Format kFormats[] = {
    {"Q8_0", BlockFormat::kQ8_0}, {"Q4_0", BlockFormat::kQ4_0},     {"Q4_1", BlockFormat::kQ4_1},
    {"Q5_0", BlockFormat::kQ5_0}, {"Q5_1", BlockFormat::kQ5_1},     {"Q2_K", BlockFormat::kQ2_K},
    {"Q3_K", BlockFormat::kQ3_K}, {"Q4_K", BlockFormat::kQ4_K},     {"Q5_K", BlockFormat::kQ5_K},
    {"Q6_K", BlockFormat::kQ6_K}, {"IQ4_NL", BlockFormat::kIq4_Nl},
};

constexpr int kRows = 8192, kInputs = 4096, kPasses = 5;

double seconds_of_a_pass(BlockFormat format, int threads, const std::vector<std::uint8_t>& blocks,
                         pipo::test::AlignedBytes& packed) {
  const std::int64_t row_bytes = kInputs / elements_per_block(format) * bytes_per_block(format);
  const int share = kRows / kPanelRows / threads * kPanelRows;
  const auto start = Clock::now();
  std::vector<std::thread> workers;
  for (int t = 0; t < threads; ++t) {
    workers.emplace_back([&, t] {
      const int first = t * share, count = t + 1 == threads ? kRows - first : share;
      if (pack_blocks(format, stored_type(format), kRows, kInputs, first, count, blocks.data() + first * row_bytes,
                      packed.data()) != Status::kOk) {
        std::abort();
      }
    });
  }
  for (std::thread& worker : workers) worker.join();
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::max(1, std::atoi(argv[1])) : 2;
  for (const Format& f : kFormats) {
    const std::int64_t elements = std::int64_t{kRows} * kInputs;
    std::vector<std::uint8_t> blocks(elements / elements_per_block(f.format) * bytes_per_block(f.format), 0x35);
    pipo::test::AlignedBytes packed(packed_bytes(stored_type(f.format), 32, kRows, kInputs));
    double best = 1e9;
    for (int i = 0; i < kPasses; ++i) best = std::min(best, seconds_of_a_pass(f.format, threads, blocks, packed));
    std::printf("%-7s %6.0f MB/s of the file, %6.0f million weights/s, %d threads\n", f.name,
                blocks.size() / best / 1e6, elements / best / 1e6, threads);
  }
  return 0;
}
