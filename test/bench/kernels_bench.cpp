#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cpu/thread_pool.h"
#include "test/support/aligned.h"
#include "test/support/random.h"

/// How near the matrix products of a backend come to what the machine gives at that moment: reading the weights once
/// per token against a plain read of the same bytes, and products of many rows against a burst of the same instruction.
/// Segments alternate, because the machine's own speed moves; figures are medians over the repetitions.
namespace {

using namespace pipo::kernels;
using pipo::test::AlignedBytes;
using Clock = std::chrono::steady_clock;

struct Options {
  std::string backend;
  std::vector<int> threads = {1, 2, 3};
  std::vector<std::string> models = {"bundled", "0.8B", "4B"};
  std::vector<std::string> formats = {"int8", "int4"};
  std::vector<int> rows = {1, 2, 4, 8, 128, 512};
  int repetitions = 7;
};

struct ModelShape {
  const char* name;
  int width, ff, q_gate, kv, attention_out, channels, value_width, value_heads, layers;
};

/// Layers of the smaller models are all there; of the 4B as many as are far beyond any cache. Without value heads, every
/// layer has attention.
constexpr ModelShape kModels[] = {
    {"bundled", 256, 768, 1024, 128, 512, 1024, 512, 8, 8},
    {"0.8B", 1024, 3584, 4096, 512, 2048, 6144, 2048, 16, 24},
    {"4B", 2560, 9216, 8192, 1024, 4096, 8192, 4096, 32, 6},
    {"dense-0.5B", 896, 4864, 896, 128, 896, 0, 0, 0, 24},
    {"dense-1.5B", 1536, 8960, 1536, 256, 1536, 0, 0, 0, 28},
};

double seconds(const std::function<void()>& work) {
  const auto start = Clock::now();
  work();
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// All matrices of a model in one block of memory, as in a mapped file, in the groups that share an input.
struct Stack {
  AlignedBytes bytes;
  std::vector<std::vector<PackedMatrix>> groups;
  std::int64_t multiply_adds = 0;
};

std::vector<std::vector<std::pair<int, int>>> layer_shapes(const ModelShape& m, bool attention) {
  if (attention) {
    return {{{m.q_gate, m.width}, {m.kv, m.width}, {m.kv, m.width}},
            {{m.width, m.attention_out}},
            {{m.ff, m.width}, {m.ff, m.width}},
            {{m.width, m.ff}}};
  }
  return {{{m.channels, m.width}, {m.value_width, m.width}, {m.value_heads, m.width}, {m.value_heads, m.width}},
          {{m.width, m.value_width}},
          {{m.ff, m.width}, {m.ff, m.width}},
          {{m.width, m.ff}}};
}

Stack make_stack(const ModelShape& model, WeightType type, int group) {
  Stack stack;
  std::int64_t total = 0;
  for (int layer = 0; layer < model.layers; ++layer) {
    for (const auto& shapes : layer_shapes(model, layer % 4 == 3 || model.value_heads == 0)) {
      std::vector<PackedMatrix> matrices;
      for (const auto& [n, k] : shapes) {
        matrices.push_back({nullptr, type, static_cast<std::uint16_t>(group), n, k});
        total += packed_bytes(type, group, n, k);
        stack.multiply_adds += static_cast<std::int64_t>(n) * k;
      }
      stack.groups.push_back(std::move(matrices));
    }
  }
  stack.bytes = AlignedBytes(total);
  // Any bytes are valid weights; small scales (0x3c3c as bf16 is 0.0115, as f16 1.06) keep the sums finite.
  std::memset(stack.bytes.data(), 0x3c, total);
  std::int64_t offset = 0;
  for (auto& matrices : stack.groups) {
    for (PackedMatrix& matrix : matrices) {
      matrix.data = stack.bytes.data() + offset;
      offset += packed_bytes(type, group, matrix.n, matrix.k);
    }
  }
  return stack;
}

/// Every matrix once, for `rows` rows of input.
class Multiplication {
 public:
  Multiplication(const Stack& stack, int rows) : stack_(stack), rows_(rows) {
    int inputs = 0, outputs = 0;
    for (const auto& matrices : stack.groups) {
      int sum = 0;
      for (const PackedMatrix& matrix : matrices) {
        inputs = std::max(inputs, matrix.k);
        sum += matrix.n;
      }
      outputs = std::max(outputs, sum);
    }
    x_ = pipo::test::Random(1).normal(static_cast<std::size_t>(rows) * inputs, 1.0f);
    y_.resize(static_cast<std::size_t>(rows) * outputs);
  }

  void run(Backend& backend) {
    for (const auto& matrices : stack_.groups) {
      MatmulTerm terms[4];
      std::int64_t offset = 0;
      for (std::size_t t = 0; t < matrices.size(); ++t) {
        terms[t] = {&matrices[t], nullptr, y_.data() + offset, matrices[t].n, false};
        offset += static_cast<std::int64_t>(rows_) * matrices[t].n;
      }
      const int k = matrices[0].k;
      if (backend.matmul(x_.data(), k, rows_, terms, static_cast<int>(matrices.size())) != Status::kOk) std::abort();
    }
  }

 private:
  const Stack& stack_;
  int rows_;
  std::vector<float> x_, y_;
};

std::uint64_t read_piece(const std::byte* data, std::int64_t bytes) {
  std::uint64_t sums[8] = {};
  const auto* words = reinterpret_cast<const std::uint64_t*>(data);
  for (std::int64_t i = 0; i + 8 <= bytes / 8; i += 8) {
    for (int j = 0; j < 8; ++j) sums[j] ^= words[i + j];
  }
  std::uint64_t all = 0;
  for (const std::uint64_t sum : sums) all ^= sum;
  return all;
}

void read_pass(const AlignedBytes& bytes, cpu::ThreadPool& pool) {
  constexpr std::int64_t kPiece = 256 << 10;
  static std::atomic<std::uint64_t> sink{0};
  pool.parallel_for(static_cast<int>((bytes.size() + kPiece - 1) / kPiece), [&](int i, int) {
    const std::int64_t begin = i * kPiece;
    sink ^= read_piece(bytes.data() + begin, std::min(kPiece, bytes.size() - begin));
  });
}

#if defined(__x86_64__)
/// 12 independent chains of vpdpbusd, 128 operations each: what the cores do when nothing waits for memory.
void multiply_burst(std::int64_t rounds) {
  for (std::int64_t i = 0; i < rounds; ++i) {
    asm volatile(
        "vpdpbusd %%zmm12, %%zmm12, %%zmm0\n vpdpbusd %%zmm12, %%zmm12, %%zmm1\n"
        "vpdpbusd %%zmm12, %%zmm12, %%zmm2\n vpdpbusd %%zmm12, %%zmm12, %%zmm3\n"
        "vpdpbusd %%zmm12, %%zmm12, %%zmm4\n vpdpbusd %%zmm12, %%zmm12, %%zmm5\n"
        "vpdpbusd %%zmm12, %%zmm12, %%zmm6\n vpdpbusd %%zmm12, %%zmm12, %%zmm7\n"
        "vpdpbusd %%zmm12, %%zmm12, %%zmm8\n vpdpbusd %%zmm12, %%zmm12, %%zmm9\n"
        "vpdpbusd %%zmm12, %%zmm12, %%zmm10\n vpdpbusd %%zmm12, %%zmm12, %%zmm11\n" ::
            : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11");
  }
}

/// Operations per second of the burst on the pool's threads; 0 where the CPU lacks the instruction.
double burst_rate(cpu::ThreadPool& pool) {
  const std::vector<std::string> names = available_backends();
  if (std::find(names.begin(), names.end(), "avx512") == names.end()) return 0.0;
  constexpr std::int64_t kRounds = 400000;
  const int pieces = pool.threads() * 4;
  const double time = seconds([&] { pool.parallel_for(pieces, [](int, int) { multiply_burst(kRounds); }); });
  return static_cast<double>(pieces) * kRounds * 12 * 128 / time;
}
#else
double burst_rate(cpu::ThreadPool&) { return 0.0; }
#endif

void bench_narrow(const Stack& stack, int rows, Backend& backend, cpu::ThreadPool& pool, int repetitions) {
  Multiplication multiplication(stack, rows);
  const double bytes = static_cast<double>(stack.bytes.size());
  std::vector<double> read_rates, rates, ratios;
  double before = bytes / seconds([&] { read_pass(stack.bytes, pool); });
  multiplication.run(backend);
  for (int i = 0; i < repetitions; ++i) {
    const double rate = bytes / seconds([&] { multiplication.run(backend); });
    const double after = bytes / seconds([&] { read_pass(stack.bytes, pool); });
    read_rates.push_back(after);
    rates.push_back(rate);
    ratios.push_back(rate / std::max(before, after));
    before = after;
  }
  std::printf("  %3d row%s  %7.2f ms  %6.1f GB/s  read %6.1f GB/s  ratio %.2f\n", rows, rows == 1 ? " " : "s",
              1e3 * bytes / median(rates), median(rates) / 1e9, median(read_rates) / 1e9, median(ratios));
}

void bench_wide(const Stack& stack, int rows, Backend& backend, cpu::ThreadPool& pool, int repetitions) {
  Multiplication multiplication(stack, rows);
  const double operations = 2.0 * static_cast<double>(stack.multiply_adds) * rows;
  std::vector<double> peaks, rates, ratios;
  multiplication.run(backend);
  for (int i = 0; i < repetitions; ++i) {
    const double peak = burst_rate(pool);
    const double rate = operations / seconds([&] { multiplication.run(backend); });
    peaks.push_back(peak);
    rates.push_back(rate);
    ratios.push_back(peak > 0 ? rate / peak : 0);
  }
  std::printf("  %3d rows  %7.2f ms  %6.0f rows/s  %6.0f GOP/s  peak %5.0f GOP/s  ratio %.2f\n", rows,
              1e3 * operations / median(rates), rows * median(rates) / operations, median(rates) / 1e9,
              median(peaks) / 1e9, median(ratios));
}

struct Format {
  const char* name;
  WeightType type;
  int group;
};

constexpr Format kFormats[] = {{"int8", WeightType::kInt8, 32},    {"int4", WeightType::kInt4, 32},
                               {"int8g64", WeightType::kInt8, 64}, {"int4g64", WeightType::kInt4, 64},
                               {"q8", WeightType::kQ8, 32},        {"q5", WeightType::kQ5, 32},
                               {"q4", WeightType::kQ4, 32},        {"bf16", WeightType::kBf16, 0},
                               {"f32", WeightType::kF32, 0}};

bool contains(const std::vector<std::string>& list, const char* name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

void bench(const Options& options) {
  for (const ModelShape& model : kModels) {
    if (!contains(options.models, model.name)) continue;
    for (const Format& format : kFormats) {
      if (!contains(options.formats, format.name)) continue;
      const Stack stack = make_stack(model, format.type, format.group);
      for (const int threads : options.threads) {
        std::string reason;
        const std::unique_ptr<Backend> backend = make_backend({options.backend, threads}, &reason);
        if (backend == nullptr) {
          std::fprintf(stderr, "%s\n", reason.c_str());
          std::exit(1);
        }
        cpu::ThreadPool pool(threads);
        std::printf("%s %s, %.0f MB, %s, %d thread%s\n", model.name, format.name, stack.bytes.size() / 1e6,
                    backend->name(), threads, threads == 1 ? "" : "s");
        for (const int rows : options.rows) {
          (rows < 16 ? bench_narrow : bench_wide)(stack, rows, *backend, pool, options.repetitions);
          std::fflush(stdout);
        }
      }
    }
  }
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == ',') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

std::vector<int> numbers(const std::string& text) {
  std::vector<int> values;
  for (const std::string& part : split(text)) values.push_back(std::atoi(part.c_str()));
  return values;
}

constexpr const char* kUsage =
    "usage: pipo_kernel_bench [--backend NAME] [--threads 1,2,3] [--models bundled,0.8B,4B,dense-0.5B,dense-1.5B]\n"
    "                         [--formats int8,int4,int8g64,int4g64,q8,q5,q4,bf16,f32] [--rows 1,2,4,8,128,512]\n"
    "                         [--repetitions 7]\n";

bool parse(int argc, char** argv, Options* options) {
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i], value = argv[i + 1];
    if (name == "--backend") {
      options->backend = value;
    } else if (name == "--threads") {
      options->threads = numbers(value);
    } else if (name == "--models") {
      options->models = split(value);
    } else if (name == "--formats") {
      options->formats = split(value);
    } else if (name == "--rows") {
      options->rows = numbers(value);
    } else if (name == "--repetitions") {
      options->repetitions = std::max(1, std::atoi(value.c_str()));
    } else {
      return false;
    }
  }
  return argc % 2 == 1;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  if (!parse(argc, argv, &options)) {
    std::fputs(kUsage, stderr);
    return 2;
  }
  bench(options);
  return 0;
}
