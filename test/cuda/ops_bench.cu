/// Times of the kernels in the shapes of the 4B, 0.8B and 9B models, beside what this device reads, copies and
/// multiplies. Device only. Every weight comes from memory, not from a cache: ops walk through a large block.
///   cuda_ops_bench [part of a group's name]
#include <chrono>
#include <cstring>

#include "test/cuda/bench_shapes.cuh"

using namespace pipo;
using namespace pipo::test;
using cuda::Queue;

namespace {

void measure_device(Bench& b, const Stopwatch& stopwatch) {
  const auto rate = [](double amount, double us) { return us > 0 ? amount / us * 1e6 : 0; };
  const double copy_us =
      b.report.time(stopwatch, "device", "copy of 1 GiB, bytes read and written", 4,
                    {static_cast<double>(kPool), 0, "TB/s"}, [&](const Queue& q, int) {
                      return static_cast<int>(cudaMemcpyAsync(b.pool.get(), b.pool.get() + kPool / 2, kPool / 2,
                                                              cudaMemcpyDeviceToDevice, q.stream));
                    });
  b.copy_rate = rate(kPool, copy_us);
  for (const int blocks : {4, 8, 16}) {
    const std::string op = "reading 2 GiB, " + std::to_string(blocks) + " blocks per multiprocessor";
    const double us =
        b.report.time(stopwatch, "device", op, 4, {static_cast<double>(kPool), 0, "TB/s"}, [&](const Queue& q, int) {
          return cuda::launch({dim3(q.multiprocessors * blocks), dim3(kRateThreads), 0, q.stream}, read_kernel,
                              reinterpret_cast<const uint4*>(b.pool.get()), kPool / 16,
                              reinterpret_cast<unsigned*>(b.words.get()));
        });
    b.read_rate = std::max(b.read_rate, rate(kPool, us));
  }
  const double ops = cuda::kMatrixBlockOps * multiprocessors() * 2;
  const double matrix_us = b.report.time(
      stopwatch, "device", "bf16 products from registers (mma.sync)", 4, {ops, 0, "TFLOP/s"}, [&](const Queue& q, int) {
        return cuda::launch({dim3(q.multiprocessors * 2), dim3(cuda::kMatrixThreads), 0, q.stream},
                            cuda::matrix_kernel, b.scratch.get());
      });
  b.matrix_rate = rate(ops, matrix_us);
}

/// Microseconds from a launch to the moment when the host sees the word that the kernel publishes.
double publish_latency(volatile unsigned* seen, unsigned* seen_at, unsigned* counter, const Stopwatch& stopwatch) {
  const Queue q = stopwatch.queue();
  std::vector<double> samples;
  for (int i = 0; i < 200; ++i) {
    const unsigned before = *seen;
    const auto start = std::chrono::steady_clock::now();
    if (cuda::launch({dim3(1), dim3(1), 0, q.stream}, publish_kernel, static_cast<volatile unsigned*>(seen_at),
                     counter) != 0)
      throw std::runtime_error("publish");
    double us = 0;
    do {
      us = std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count();
    } while (*seen == before && us < 1e6);
    if (*seen == before) throw std::runtime_error("a published word did not arrive within a second");
    samples.push_back(us);
    require(cudaStreamSynchronize(q.stream));
  }
  std::nth_element(samples.begin(), samples.begin() + 100, samples.end());
  return samples[100];
}

void measure_launches(Bench& b, const Stopwatch& serial, const Stopwatch& overlapped) {
  constexpr int kNodes = 200;
  unsigned* word = nullptr;
  require(cudaHostAlloc(&word, sizeof *word, cudaHostAllocMapped));
  *word = 0;
  unsigned* word_at = nullptr;
  require(cudaHostGetDevicePointer(&word_at, word, 0));
  for (const Stopwatch* s : {&serial, &overlapped}) {
    const std::string how = s == &serial ? "one after another" : "overlapped";
    for (const int wide : {0, 1}) {
      const auto empty = [&](const Queue& q, int) {
        return cuda::launch({dim3(wide ? q.multiprocessors * 4 : 1), dim3(wide ? 256 : 1), 0, q.stream, q.overlap},
                            empty_kernel);
      };
      b.report.time(*s, "launch", std::string("empty node, ") + (wide ? "wide, " : "one thread, ") + how, kNodes, {},
                    empty);
    }
    b.report.time(*s, "launch", "output matrix that is not wanted, " + how, kNodes, {}, [&](const Queue& q, int i) {
      cuda::GemvArgs args;
      args.terms[0].w = b.matrix(WeightType::kBf16, kVocab, 2560, i);
      args.terms[0].y = b.y.get();
      args.n_terms = 1;
      args.x = b.x.get();
      args.enabled = b.zeros.get();
      return cuda::gemv(q, args);
    });
    b.report.time(*s, "launch", "publish a word to the host, " + how, kNodes, {}, [&](const Queue& q, int) {
      return cuda::launch({dim3(1), dim3(1), 0, q.stream, q.overlap}, publish_kernel,
                          static_cast<volatile unsigned*>(word_at), reinterpret_cast<unsigned*>(b.words.get()));
    });
  }
  b.report.line("launch", "from launch to the word in the host's hands",
                publish_latency(word, word_at, reinterpret_cast<unsigned*>(b.words.get()), serial));
  require(cudaFreeHost(word));
}

struct Product {
  const char* name;
  int n, k;
  cuda::Input input;
  bool gate_up, accumulate;
  int per_step;  ///< how often in a plain step
};

std::vector<Product> products_of(const Shapes& m) {
  const int value = m.value_heads * kDeltaDim, attention = m.heads * kHeadDim,
            layers = m.attention_layers + m.delta_layers;
  return {{"delta in", m.channels() + value, m.hidden, cuda::Input::kNorm, false, false, m.delta_layers},
          {"delta out", m.hidden, value, cuda::Input::kGatedNorm, false, true, m.delta_layers},
          {"q, k, v", 2 * attention + 2 * m.kv_heads * kHeadDim, m.hidden, cuda::Input::kNorm, false, false,
           m.attention_layers},
          {"attention out", m.hidden, attention, cuda::Input::kPlain, false, true, m.attention_layers},
          {"gate and up", 2 * m.inner, m.hidden, cuda::Input::kNorm, true, false, layers},
          {"down", m.hidden, m.inner, cuda::Input::kPlain, false, true, layers},
          {"output matrix", kVocab, m.hidden, cuda::Input::kNorm, false, false, 1}};
}

cuda::GemvArgs product_args(const Bench& b, const Product& p, WeightType type, int i) {
  cuda::GemvArgs args;
  args.n_terms = p.gate_up ? 2 : 1;
  const int n = p.n / args.n_terms;
  for (int t = 0; t < args.n_terms; ++t) {
    args.terms[t].w = b.matrix(type, n, p.k, args.n_terms * i + t);
    args.terms[t].y = b.y.get();
    args.terms[t].accumulate = p.accumulate;
  }
  args.gate_up = p.gate_up;
  args.input = p.input;
  args.x = args.x2 = b.x.get();
  args.norm = b.x.get();
  args.head_dim = kDeltaDim;
  return args;
}

void measure_products(Bench& b, const Shapes& m, const Stopwatch& serial, const Stopwatch& overlapped) {
  for (const WeightType type : kTypes) {
    double step_us = 0, step_bytes = 0;
    for (const Product& p : products_of(m)) {
      const double bytes = static_cast<double>(matrix_bytes(type, p.n, p.k));
      const Amount amount{bytes, b.read_rate, "TB/s"};
      const auto run = [&](const Queue& q, int i) { return cuda::gemv(q, product_args(b, p, type, i)); };
      const std::string op = std::string(name_of(type)) + " " + p.name;
      b.report.time(serial, m.name, op + ", one after another", launches_for(bytes), amount, run);
      step_us += p.per_step * b.report.time(overlapped, m.name, op, launches_for(bytes), amount, run);
      step_bytes += p.per_step * bytes;
    }
    b.report.line(m.name, std::string(name_of(type)) + " products of a plain step, sum", step_us,
                  {step_bytes, b.read_rate, "TB/s"});
  }
}

void measure_attention(Bench& b, const Shapes& m, const Stopwatch& stopwatch) {
  for (const int length : {512, 4096, 32768}) {
    b.words.put(std::vector<int>(64, length - 1));
    const std::int64_t plane = std::int64_t{length} * m.kv_heads * kHeadDim * 2;
    for (const int splits : {8, 16, 32, 64}) {
      const std::string op = "attention over " + std::to_string(length) + ", shares " + std::to_string(splits);
      b.report.time(stopwatch, m.name, op, launches_for(2.0 * plane), {2.0 * plane, b.read_rate, "TB/s"},
                    [&](const Queue& q, int i) {
                      cuda::AttentionStepArgs args;
                      args.n_heads = m.heads;
                      args.n_kv_heads = m.kv_heads;
                      args.head_dim = kHeadDim;
                      args.rotary_dim = kRotaryDim;
                      args.q_gate = args.k = args.v = args.q_norm = args.k_norm = args.rotation = b.x.get();
                      args.keys = b.pool.get() + 2 * i % (kPool / plane) * plane;
                      args.values = b.pool.get() + (2 * i + 1) % (kPool / plane) * plane;
                      args.position = b.words.get();
                      args.splits = splits;
                      args.partial = b.scratch.get();
                      args.arrived = b.zeros.get();
                      args.out = b.y.get();
                      return cuda::attention_step(q, args);
                    });
    }
  }
}

void measure_delta(Bench& b, const Shapes& m, const Stopwatch& stopwatch, int rows, bool chunked) {
  const std::int64_t state = std::int64_t{m.value_heads} * kDeltaDim * kDeltaDim;
  const Device<std::uint8_t> scratch(static_cast<std::size_t>(cuda::delta_scratch_bytes(m.delta(), rows)) + 1);
  b.words.put(std::vector<int>(64, 100));
  const Amount amount = rows == 1 ? Amount{8.0 * state, b.copy_rate, "TB/s"} : Amount{};
  const std::string op = "gated delta rule, " + std::to_string(rows) + (rows == 1 ? " row" : " rows");
  b.report.time(stopwatch, m.name, op + (chunked ? " in chunks where they pay" : ""),
                rows == 1 ? 96 : 4, amount, [&](const Queue& q, int i) {
                  cuda::DeltaStepArgs args;
                  args.shape = m.delta();
                  args.qkv = b.x.get();
                  args.a = args.b = args.conv = args.neg_exp_a_log = args.dt_bias = b.x.get();
                  args.ring = b.scratch.get();
                  args.state = reinterpret_cast<float*>(b.pool.get()) + i * state;
                  args.out = b.y.get();
                  args.position = b.words.get();
                  args.rows = rows;
                  args.mixed = b.scratch.get() + (1 << 20);
                  args.gates = b.scratch.get() + (1 << 20) + std::int64_t{rows} * m.channels();
                  args.scratch = scratch.get();
                  args.scratch_bytes = chunked ? cuda::delta_scratch_bytes(m.delta(), rows) : 0;
                  return cuda::delta_net_step(q, args);
                });
}

void measure_sampling(Bench& b, const Stopwatch& stopwatch) {
  const Device<std::uint8_t> scratch(static_cast<std::size_t>(cuda::sample_scratch_bytes(kRealVocab)));
  const Device<std::uint64_t> slot(std::size_t{1});
  const Device<float> logits(std::size_t{kVocab}), logprob(std::size_t{1});
  fill_floats<<<256, 256>>>(logits.get(), kVocab, 8.0f);
  require(cudaGetLastError());
  finish(0);
  struct Choice {
    const char* name;
    float temperature, top_p;
    int top_k, logprobs;
    bool draws;
  };
  for (const Choice& c :
       {Choice{"sampling, greedy, no draw possible", 0, 1, 0, 0, false}, Choice{"sampling, greedy", 0, 1, 0, 1, true},
        Choice{"sampling, temperature 1", 1, 1, 0, 1, true},
        Choice{"sampling, top-k 20, top-p 0.95", 1, 0.95f, 20, 1, true},
        Choice{"sampling, top-p 0.95 of a flat choice", 1, 0.95f, 0, 1, true}}) {
    cuda::SampleRequest r;
    r.temperature = c.temperature;
    r.top_k = c.top_k;
    r.top_p = c.top_p;
    r.wants_logprob = c.logprobs;
    const Device<cuda::SampleRequest> request(std::vector{r});
    b.report.time(stopwatch, "sampling", c.name, 50, {4.0 * kRealVocab, b.read_rate, "TB/s"}, [&](const Queue& q, int) {
      cuda::SampleArgs args;
      args.logits = logits.get();
      args.vocab = kRealVocab;
      args.request = request.get();
      args.slot = slot.get();
      args.draws = c.draws;
      args.scratch = scratch.get();
      args.id = b.words.get();
      args.logprob = logprob.get();
      return cuda::sample(q, args);
    });
  }
}

cuda::GemmArgs rows_product_args(const Bench& b, const Product& p, WeightType type, int rows, int i) {
  const int n = p.gate_up ? p.n / 2 : p.n;
  cuda::GemmArgs args;
  args.x = b.rows.get();
  args.y_stride = n;
  args.accumulate = p.accumulate;
  args.m = rows;
  if (p.gate_up) {
    args.w = b.matrix(type, n, p.k, 2 * i);
    args.up = b.matrix(type, n, p.k, 2 * i + 1);
    args.y_bf16 = reinterpret_cast<std::uint16_t*>(b.y.get());
  } else {
    args.w = b.matrix(type, n, p.k, i);
    args.y = b.y.get();
  }
  return args;
}

void measure_many_rows(Bench& b, const Shapes& m, const Stopwatch& stopwatch) {
  for (const WeightType type : kTypes) {
    for (const Product& p : products_of(m)) {
      if (p.n == kVocab) continue;
      for (const int rows : {2, 8, 32, 512, kChunk}) {
        const bool few = rows <= 32;  // bound by reading the weights
        const double bytes = static_cast<double>(matrix_bytes(type, p.n, p.k)), ops = 2.0 * rows * p.n * p.k;
        const Amount amount = few ? Amount{bytes, b.read_rate, "TB/s"} : Amount{ops, b.matrix_rate, "TFLOP/s"};
        const std::string op = std::string(name_of(type)) + " " + p.name + ", " + std::to_string(rows) + " rows";
        b.report.time(stopwatch, m.name, op, few ? launches_for(bytes) : 8, amount,
                      [&](const Queue& q, int i) { return cuda::gemm(q, rows_product_args(b, p, type, rows, i)); });
      }
    }
  }
}

void measure_rows_attention(Bench& b, const Shapes& m, const Stopwatch& stopwatch) {
  struct Call {
    int rows, first;
  };
  const std::int64_t partial_bytes = cuda::attention_rows_scratch_bytes(kHeadDim, multiprocessors());
  const Device<float> partial(static_cast<std::size_t>(partial_bytes / 4));
  for (const Call& c : {Call{16, 4080}, {512, 0}, {kChunk, 0}, {kChunk, 6144}}) {
    const double visible = c.rows * (c.first + (c.rows + 1) / 2.0);
    const Amount amount{4.0 * visible * m.heads * kHeadDim, b.matrix_rate, "TFLOP/s"};
    const std::string op = "attention of " + std::to_string(c.rows) + " rows after " + std::to_string(c.first);
    b.report.time(stopwatch, m.name, op, 4, amount,
                  [&](const Queue& q, int i) {
                    cuda::AttentionRowsArgs args;
                    args.n_heads = m.heads;
                    args.n_kv_heads = m.kv_heads;
                    args.head_dim = kHeadDim;
                    args.rotary_dim = kRotaryDim;
                    args.first_position = c.first;
                    args.rows = c.rows;
                    args.q_gate = b.x.get();
                    args.k = args.v = args.q_norm = args.k_norm = args.inv_freq = b.x.get();
                    args.keys = b.pool.get();
                    args.values = b.pool.get() + kPool / 2;
                    args.queries = b.rows.get();
                    args.partial = partial.get();
                    args.out = b.y.get();
                    return cuda::attention_rows(q, args);
                  });
  }
  const int k_padded = cuda::padded_inputs(WeightType::kBf16, m.inner);
  const Amount amount{10.0 * kChunk * m.inner, b.copy_rate, "TB/s"};
  b.report.time(stopwatch, m.name, "2048 rows of SiLU products to bf16", 8, amount, [&](const Queue& q, int) {
    cuda::RowsInput args;
    args.input = cuda::Input::kSiluProduct;
    args.x = b.x.get();
    args.x2 = b.y.get();
    args.rows = kChunk;
    args.k = m.inner;
    args.k_padded = k_padded;
    args.to = b.rows.get();
    return cuda::prepare_rows(q, args);
  });
}

int run(const char* wanted_group) {
  cudaDeviceProp device{};
  require(cudaGetDeviceProperties(&device, 0));
  std::printf("%s, %d multiprocessors, capability %d.%d; medians, weights out of memory\n", device.name,
              device.multiProcessorCount, device.major, device.minor);
  const auto wanted = [&](const char* group) { return std::strstr(group, wanted_group) != nullptr; };
  Bench bench;
  bench.fill();
  const Stopwatch serial(false), overlapped(device.major >= 9);
  measure_device(bench, serial);
  if (wanted("launch")) measure_launches(bench, serial, overlapped);
  if (wanted("sampling")) measure_sampling(bench, overlapped);
  for (const Shapes& m : kModels) {
    if (!wanted(m.name)) continue;
    measure_products(bench, m, serial, overlapped);
    measure_attention(bench, m, overlapped);
    measure_delta(bench, m, overlapped, 1, false);
    for (const bool chunked : {false, true}) measure_delta(bench, m, serial, kChunk, chunked);
    measure_many_rows(bench, m, serial);
    measure_rows_attention(bench, m, serial);
  }
  finish(0);
  bench.report.json(device.name);
  return bench.report.failures() == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (!device_present()) return kSkipped;
  try {
    return run(argc > 1 ? argv[1] : "");
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "the bench ended early: %s\n", failure.what());
    return 1;
  }
}
