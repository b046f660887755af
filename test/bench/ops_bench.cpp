// How the time of a decode step and of a prefill divides among the operations, on random weights of a released shape:
//   pipo_ops_bench [0.8B|4B] [threads] [context] [repeats]
// Prints milliseconds per step and the share of each operation, the median of all repeats.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "kernels/backend.h"

using namespace pipo::kernels;

namespace {

struct ModelShape {
  int hidden, intermediate, layers, vocabulary;
  AttentionShape attention;
  DeltaNetShape delta;
};

const ModelShape kSmall{1024, 3584, 24, 248320, {8, 2, 256, 64, 1e-6f}, {16, 16, 128, 128, 4, 1e-6f}};
const ModelShape kMedium{2560, 9216, 32, 248320, {16, 4, 256, 64, 1e-6f}, {16, 32, 128, 128, 4, 1e-6f}};

std::vector<float> random_floats(std::int64_t count, float scale = 1.0f) {
  static std::mt19937 engine(7);
  std::uniform_real_distribution<float> uniform(-scale, scale);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = uniform(engine);
  return values;
}

/// An int4 matrix with memory of its own, so that every layer is streamed as in a real model.
struct Weights {
  Weights(int n, int k) : n(n), k(k) {
    constexpr int kGroup = 32;
    const std::int64_t bytes = packed_bytes(WeightType::kInt4, kGroup, n, k);
    memory.reset(static_cast<char*>(std::aligned_alloc(kPackedAlign, static_cast<std::size_t>(bytes))));
    // One packed panel over and over: timing does not depend on the values.
    const std::vector<float> rows = random_floats(static_cast<std::int64_t>(kPanelRows) * k, 0.05f);
    std::vector<char> panel(static_cast<std::size_t>(packed_bytes(WeightType::kInt4, kGroup, kPanelRows, k)));
    if (pack_rows(WeightType::kInt4, kGroup, kPanelRows, k, 0, kPanelRows, rows.data(), panel.data()) != Status::kOk) {
      std::abort();
    }
    for (std::int64_t at = 0; at < bytes; at += static_cast<std::int64_t>(panel.size())) {
      std::memcpy(memory.get() + at, panel.data(), std::min<std::size_t>(panel.size(), bytes - at));
    }
    matrix = {memory.get(), WeightType::kInt4, kGroup, n, k};
  }
  struct Free {
    void operator()(char* p) const { std::free(p); }
  };
  int n, k;
  std::unique_ptr<char, Free> memory;
  PackedMatrix matrix;
};

struct Layer {
  bool full_attention;
  std::vector<Weights> in, out, gate_up, down;
  std::vector<std::uint16_t> keys, values;
  std::vector<float> state, conv_state;
};

/// A decoder's buffers and operations in their real order; the results mean nothing.
class Decoder {
 public:
  Decoder(const ModelShape& shape, Backend& backend, int capacity)
      : s_(shape), backend_(backend), head_(shape.vocabulary, shape.hidden), capacity_(capacity) {
    const int h = s_.hidden;
    const AttentionShape& att = s_.attention;
    const int q = att.n_heads * att.head_dim, kv = att.n_kv_heads * att.head_dim;
    for (int i = 0; i < s_.layers; ++i) {
      Layer layer;
      layer.full_attention = (i + 1) % 4 == 0;
      const auto add = [](std::vector<Weights>& list, int n, int k) { list.emplace_back(n, k); };
      if (layer.full_attention) {
        for (const int n : {2 * q, kv, kv}) add(layer.in, n, h);
        add(layer.out, h, q);
        layer.keys.resize(static_cast<std::size_t>(capacity) * kv);
        layer.values.resize(layer.keys.size());
      } else {
        for (const int n :
             {s_.delta.channels(), s_.delta.value_width(), s_.delta.n_value_heads, s_.delta.n_value_heads})
          add(layer.in, n, h);
        add(layer.out, h, s_.delta.value_width());
        layer.state.resize(static_cast<std::size_t>(s_.delta.n_value_heads) * s_.delta.key_dim * s_.delta.value_dim);
        layer.conv_state.resize(3ull * s_.delta.channels());
      }
      for (int j = 0; j < 2; ++j) add(layer.gate_up, s_.intermediate, h);
      add(layer.down, h, s_.intermediate);
      layers_.push_back(std::move(layer));
    }
    small_ = random_floats(std::max(s_.intermediate, s_.delta.channels()));
    taps_ = random_floats(4ll * s_.delta.channels());
    decay_.assign(s_.delta.n_value_heads, -0.5f);
  }

  /// One pass over `rows` positions; adds the milliseconds of each operation to `spent`.
  void step(int first_position, int rows, std::map<std::string, double>& spent) {
    reserve(rows);
    const auto timed = [&](const char* name, auto&& operation) {
      const auto begin = std::chrono::steady_clock::now();
      if (operation() != Status::kOk) std::abort();
      spent[name] += std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
    };
    const auto matmul = [&](std::vector<Weights>& weights, std::vector<float>& x, std::vector<std::vector<float>*> ys) {
      timed("matmul", [&] {
        std::vector<MatmulTerm> terms;
        for (std::size_t i = 0; i < weights.size(); ++i) {
          terms.push_back({&weights[i].matrix, nullptr, ys[i]->data(), weights[i].n, false});
        }
        return backend_.matmul(x.data(), weights[0].k, rows, terms.data(), static_cast<int>(terms.size()));
      });
    };
    const auto norm = [&] {
      timed("rms_norm", [&] { return backend_.rms_norm(x_.data(), small_.data(), 1e-6f, rows, s_.hidden, u_.data()); });
    };
    for (Layer& layer : layers_) {
      norm();
      if (layer.full_attention) {
        const KvCache cache{layer.keys.data(), layer.values.data(), KvType::kBf16, capacity_};
        matmul(layer.in, u_, {&wide_, &k_, &v_});
        timed("attention_prepare", [&] {
          return backend_.attention_prepare(s_.attention, wide_.data(), k_.data(), v_.data(), small_.data(),
                                            small_.data(), small_.data(), first_position, rows, cache, q_.data(),
                                            gate_.data());
        });
        timed("attention", [&] {
          return backend_.attention(s_.attention, q_.data(), gate_.data(), cache, 0, first_position, rows,
                                    mixed_.data());
        });
      } else {
        matmul(layer.in, u_, {&wide_, &gate_, &k_, &v_});
        const DeltaNetWeights weights{taps_.data(), decay_.data(), small_.data(), small_.data()};
        const DeltaNetState state{layer.state.data(), layer.conv_state.data()};
        timed("delta_net", [&] {
          return backend_.delta_net(s_.delta, weights, wide_.data(), gate_.data(), k_.data(), v_.data(), rows, state,
                                    mixed_.data());
        });
      }
      matmul(layer.out, mixed_, {&y_});
      norm();
      matmul(layer.gate_up, u_, {&wide_, &gate_});
      const std::int64_t count = static_cast<std::int64_t>(rows) * s_.intermediate;
      timed("silu_multiply", [&] { return backend_.silu_multiply(wide_.data(), gate_.data(), count, wide_.data()); });
      matmul(layer.down, wide_, {&y_});
    }
    timed("output head", [&] {
      const MatmulTerm term{&head_.matrix, nullptr, logits_.data(), s_.vocabulary, false};
      return backend_.matmul(u_.data(), s_.hidden, 1, &term, 1);
    });
  }

 private:
  void reserve(int rows) {
    const std::int64_t widest =
        std::max({s_.delta.channels(), s_.intermediate, 2 * s_.attention.n_heads * s_.attention.head_dim});
    if (static_cast<std::int64_t>(wide_.size()) >= rows * widest) return;
    for (std::vector<float>* buffer : {&wide_, &gate_, &k_, &v_, &q_, &mixed_}) *buffer = random_floats(rows * widest);
    for (std::vector<float>* buffer : {&x_, &u_, &y_})
      *buffer = random_floats(static_cast<std::int64_t>(rows) * s_.hidden);
    logits_.resize(s_.vocabulary);
  }

  ModelShape s_;
  Backend& backend_;
  Weights head_;
  int capacity_;
  std::vector<Layer> layers_;
  std::vector<float> small_, taps_, decay_, x_, u_, y_, wide_, gate_, k_, v_, q_, mixed_, logits_;
};

double best(const std::vector<double>& values) { return *std::min_element(values.begin(), values.end()); }

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

void report(const char* title, Decoder& decoder, int first_position, int rows, int repeats) {
  std::map<std::string, std::vector<double>> runs;
  for (int i = 0; i <= repeats; ++i) {
    std::map<std::string, double> spent;
    decoder.step(first_position, rows, spent);
    if (i == 0) continue;  // the first one touches fresh memory
    for (const auto& [name, ms] : spent) runs[name].push_back(ms);
  }
  double total = 0.0, matmul = 0.0;
  for (const auto& [name, all] : runs) {
    total += median(all);
    if (name == "matmul" || name == "output head") matmul += median(all);
  }
  std::printf("%s: %.2f ms, %.1f %% outside matrix products\n", title, total, 100 * (1 - matmul / total));
  for (const auto& [name, all] : runs) {
    std::printf("  %-18s %8.3f ms  %5.1f %%  best %8.3f ms\n", name.c_str(), median(all), 100 * median(all) / total,
                best(all));
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::string size = argc > 1 ? argv[1] : "0.8B";
  const int threads = argc > 2 ? std::atoi(argv[2]) : 0;
  const int context = argc > 3 ? std::atoi(argv[3]) : 512;
  const int repeats = argc > 4 ? std::atoi(argv[4]) : 20;
  std::string reason;
  const std::unique_ptr<Backend> backend = make_backend({"", threads}, &reason);
  if (backend == nullptr) {
    std::fprintf(stderr, "%s\n", reason.c_str());
    return 1;
  }
  constexpr int kPrefill = 256;
  Decoder decoder(size == "4B" ? kMedium : kSmall, *backend, context + kPrefill);
  std::printf("%s int4, %s, %d threads\n", size.c_str(), backend->name(), backend->threads());
  report("decode step", decoder, context, 1, repeats);
  report("prefill of 256 positions", decoder, 0, kPrefill, std::max(repeats / 4, 3));
  return 0;
}
