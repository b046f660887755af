#pragma once

#include "test/cuda/bench_rates.cuh"
#include "test/cuda/bench_report.h"

/// What the bench works on: the shapes of the models, and memory for all of them.
namespace pipo::test {

using kernels::WeightType;

constexpr std::int64_t kPool = std::int64_t{2} << 30;
constexpr int kHeadDim = 256, kDeltaDim = 128, kRotaryDim = 64, kGroup = 64, kVocab = 248320, kRealVocab = 248077;
constexpr int kChunk = 2048, kWidest = 24576;

struct Shapes {
  const char* name;
  int hidden, inner, heads, kv_heads, key_heads, value_heads, attention_layers, delta_layers;

  int channels() const { return (2 * key_heads + value_heads) * kDeltaDim; }
  cuda::DeltaShape delta() const { return {key_heads, value_heads, kDeltaDim, kDeltaDim, 4}; }
};
constexpr Shapes kModels[] = {{"4B", 2560, 9216, 16, 4, 16, 32, 8, 24},
                              {"0.8B", 1024, 3584, 8, 2, 16, 16, 6, 18},
                              {"9B", 4096, 12288, 16, 4, 16, 32, 8, 24}};
constexpr WeightType kTypes[] = {WeightType::kBf16, WeightType::kInt8, WeightType::kInt4};
inline const char* name_of(WeightType t) { return t == WeightType::kBf16 ? "bf16" : t == WeightType::kInt8 ? "int8" : "int4"; }

/// Memory of all ops, and what the device does at best.
struct Bench {
  Device<std::uint8_t> pool{static_cast<std::size_t>(kPool)};
  Device<std::uint16_t> scales{std::size_t{64} << 20};
  Device<float> x{std::size_t{kChunk} * kWidest}, y{std::size_t{kChunk} * kWidest};
  Device<std::uint16_t> rows{std::size_t{kChunk} * kWidest};
  Device<float> scratch{std::size_t{64} << 20};
  Device<int> words{64}, zeros{4096};
  Report report;
  double copy_rate = 0, read_rate = 0, matrix_rate = 0;  // per second

  void fill() const {
    fill_words<<<1024, 256>>>(reinterpret_cast<unsigned*>(pool.get()), kPool / 4);
    fill_words<<<1024, 256>>>(reinterpret_cast<unsigned*>(scales.get()), std::int64_t{32} << 20);
    fill_words<<<1024, 256>>>(reinterpret_cast<unsigned*>(rows.get()), std::int64_t{kChunk} * kWidest / 2);
    fill_floats<<<1024, 256>>>(x.get(), std::int64_t{kChunk} * kWidest, 1.0f);
    require(cudaGetLastError());
    finish(0);
  }
  /// Matrix number i of a walk through the pool.
  cuda::Matrix matrix(WeightType type, int n, int k, int i) const {
    const std::int64_t bytes = cuda::weight_bytes(type, n, k), place = i % std::max<std::int64_t>(1, kPool / bytes);
    const int group = cuda::is_quantised(type) ? kGroup : 0;
    return {pool.get() + place * bytes,
            group > 0 ? scales.get() + place * (cuda::scale_bytes(type, group, n, k) / 2) : nullptr,
            type, group, n, k, cuda::padded_inputs(type, k)};
  }
};

inline std::int64_t matrix_bytes(WeightType type, int n, int k) {
  return cuda::weight_bytes(type, n, k) + cuda::scale_bytes(type, cuda::is_quantised(type) ? kGroup : 1, n, k);
}
/// Launches in a graph: enough that what one reads has left every cache before its turn comes again.
inline int launches_for(double bytes) { return static_cast<int>(std::clamp(512e6 / bytes, 12.0, 400.0)); }

}  // namespace pipo::test
