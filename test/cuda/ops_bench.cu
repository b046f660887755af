/// Times of the kernels in the shapes of the 4B model, beside what this device copies, reads and multiplies.
/// Device only; every weight is read from memory, not from a cache: the matrices rotate through a large block.
#include <algorithm>
#include <cstdio>
#include <functional>

#include "test/cuda/device_memory.h"

using namespace pipo;
using namespace pipo::test;
using kernels::WeightType;

namespace {

constexpr std::size_t kPool = std::size_t{2} << 30;

/// Median microseconds of `run`, called with a running number.
double microseconds(int repeat, const std::function<void(int)>& run) {
  cudaEvent_t begin, end;
  require(cudaEventCreate(&begin));
  require(cudaEventCreate(&end));
  for (int i = 0; i < 5; ++i) run(i);
  constexpr int kPerSample = 20;
  std::vector<double> samples;
  for (int s = 0; s < repeat; ++s) {
    require(cudaEventRecord(begin));
    for (int i = 0; i < kPerSample; ++i) run(s * kPerSample + i);
    require(cudaEventRecord(end));
    require(cudaEventSynchronize(end));
    float ms = 0;
    require(cudaEventElapsedTime(&ms, begin, end));
    samples.push_back(ms * 1e3 / kPerSample);
  }
  std::sort(samples.begin(), samples.end());
  return samples[samples.size() / 2];
}

struct Projection {
  const char* name;
  int n, k;
};
constexpr Projection kProjections[] = {{"in_proj qkv and z", 12288, 2560}, {"out_proj", 2560, 4096},
                                       {"q, k, v", 10240, 2560},           {"gate and up", 18432, 2560},
                                       {"down", 2560, 9216},               {"output matrix", 248320, 2560}};
const char* name_of(WeightType t) { return t == WeightType::kBf16 ? "bf16" : t == WeightType::kInt8 ? "int8" : "int4"; }

}  // namespace

int main() {
  if (!device_present()) return kSkipped;
  const Device<std::uint8_t> pool(kPool);
  const Device<std::uint16_t> scales(std::size_t{64} << 20);
  const Device<float> x(std::size_t{4096} * 12288), y(std::size_t{4096} * 18432);
  const double copy = microseconds(5, [&](int) {
    require(cudaMemcpyAsync(pool.get(), pool.get() + kPool / 2, kPool / 2, cudaMemcpyDeviceToDevice));
  });
  const double copy_rate = static_cast<double>(kPool) / copy / 1e6;
  std::printf("device copy %.2f TB/s, bytes read and written\n", copy_rate);
  for (const WeightType type : {WeightType::kBf16, WeightType::kInt8, WeightType::kInt4}) {
    const int group = type == WeightType::kBf16 ? 0 : 64;
    for (const Projection& p : kProjections) {
      const std::int64_t bytes = cuda::weight_bytes(type, p.n, p.k) + cuda::scale_bytes(type, group, p.n, p.k);
      const std::int64_t places = std::max<std::int64_t>(1, static_cast<std::int64_t>(kPool) / (cuda::weight_bytes(type, p.n, p.k)));
      for (const bool overlap : {false, true}) {
        cuda::Queue q = queue();
        q.overlap = overlap;
        const double us = microseconds(9, [&](int i) {
          cuda::GemvArgs args;
          args.terms[0].w = {pool.get() + i % places * cuda::weight_bytes(type, p.n, p.k), scales.get(), type, group, p.n, p.k,
                             cuda::padded_inputs(type, p.k)};
          args.terms[0].y = y.get();
          args.n_terms = 1;
          args.x = x.get();
          if (cuda::gemv(q, args) != 0) throw std::runtime_error("gemv");
        });
        std::printf("gemv %s %-18s %8.1f us  %5.2f TB/s  %3.0f %% of copy%s\n", name_of(type), p.name, us, bytes / us / 1e6,
                    100 * bytes / us / 1e6 / copy_rate, overlap ? ", overlapped launches" : "");
      }
    }
  }
  for (const WeightType type : {WeightType::kBf16, WeightType::kInt8, WeightType::kInt4}) {
    for (const int m : {512, 2048, 4096}) {
      const int n = 18432, k = 2560, group = type == WeightType::kBf16 ? 0 : 64;
      const double us = microseconds(5, [&](int) {
        cuda::GemmArgs args;
        args.x = reinterpret_cast<const std::uint16_t*>(x.get());
        args.w = {pool.get(), scales.get(), type, group, n, k, cuda::padded_inputs(type, k)};
        args.y_bf16 = reinterpret_cast<std::uint16_t*>(y.get());
        args.y_stride = n;
        args.m = m;
        if (cuda::gemm(queue(), args) != 0) throw std::runtime_error("gemm");
      });
      std::printf("gemm %s %d x %d x %d  %8.1f us  %6.1f TFLOP/s\n", name_of(type), m, n, k, us, 2.0 * m * n * k / us / 1e6);
    }
  }
  const cuda::DeltaShape shape{16, 32, 128, 128, 4};
  const Device<float> state(std::size_t{24} * 32 * 128 * 128), mixed(std::size_t{4096} * 8192), gates(std::size_t{4096} * 64);
  const Device<int> position(std::vector<int>{100});
  for (const int rows : {1, 128, 4096}) {
    const double us = microseconds(5, [&](int i) {
      cuda::DeltaStepArgs args;
      args.shape = shape;
      args.qkv = x.get();
      args.a = args.b = args.conv = args.neg_exp_a_log = args.dt_bias = x.get();
      args.ring = y.get() + (32 << 20);
      args.state = state.get() + i % 24 * 32 * 128 * 128;
      args.out = y.get();
      args.position = position.get();
      args.rows = rows;
      args.mixed = mixed.get();
      args.gates = gates.get();
      if (cuda::delta_net_step(queue(), args) != 0) throw std::runtime_error("delta");
    });
    std::printf("gated delta rule, %d rows  %8.1f us\n", rows, us);
  }
  const Device<float> partial(std::size_t{16} * 64 * 258);
  const Device<int> arrived(std::size_t{4});
  for (const int length : {512, 4096, 65536}) {
    const Device<int> at(std::vector<int>{length - 1});
    for (const int splits : {16, 32, 64}) {
      const double us = microseconds(5, [&](int) {
        cuda::AttentionStepArgs args;
        args.n_heads = 16;
        args.n_kv_heads = 4;
        args.head_dim = 256;
        args.rotary_dim = 64;
        args.q_gate = args.k = args.v = args.q_norm = args.k_norm = args.rotation = x.get();
        args.keys = pool.get();
        args.values = pool.get() + kPool / 2;
        args.position = at.get();
        args.splits = splits;
        args.partial = partial.get();
        args.arrived = arrived.get();
        args.out = y.get();
        if (cuda::attention_step(queue(), args) != 0) throw std::runtime_error("attention");
      });
      std::printf("attention over %d positions, %d shares  %8.1f us\n", length, splits, us);
    }
  }
  const Device<std::uint8_t> scratch(static_cast<std::size_t>(cuda::sample_scratch_bytes(248077)));
  const Device<std::uint64_t> slot(std::size_t{1});
  const Device<int> id(std::size_t{1});
  const Device<float> logprob(std::size_t{1});
  for (const float temperature : {0.0f, 1.0f}) {
    cuda::SampleRequest r;
    r.temperature = temperature;
    r.top_k = 20;
    r.top_p = 0.95f;
    const Device<cuda::SampleRequest> request(std::vector{r});
    const double us = microseconds(5, [&](int) {
      cuda::SampleArgs args;
      args.logits = y.get();
      args.vocab = 248077;
      args.request = request.get();
      args.slot = slot.get();
      args.scratch = scratch.get();
      args.id = id.get();
      args.logprob = logprob.get();
      if (cuda::sample(queue(), args) != 0) throw std::runtime_error("sample");
    });
    std::printf("sampling at temperature %.0f  %8.1f us\n", temperature, us);
  }
  finish(0);
  return 0;
}
