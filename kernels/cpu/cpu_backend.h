#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cpu/target.h"
#include "kernels/cpu/thread_pool.h"

namespace pipo::kernels::cpu {

/// Memory that only grows, aligned for the widest vectors; contents are lost when it does.
class Scratch {
 public:
  Scratch() = default;
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  /// At least `bytes` bytes, or null when there is no memory.
  void* reserve(std::size_t bytes);

 private:
  void* data_ = nullptr;
  std::size_t capacity_ = 0;
};

/// Operations through the table of one SIMD target, spread over a pool of threads.
class CpuBackend final : public Backend {
 public:
  /// Throws std::system_error if a thread cannot be started.
  CpuBackend(const Target& target, int threads);

  const char* name() const override { return target_.name; }
  int threads() const override { return pool_.threads(); }

  Status matmul(const float* x, std::int64_t x_stride, std::int32_t m, const MatmulTerm* terms,
                std::int32_t n_terms) override;
  Status embed(const PackedMatrix& table, const std::int32_t* ids, std::int32_t count, float* out) override;
  Status rms_norm(const float* x, const float* w, float eps, std::int32_t rows, std::int32_t dim, float* y) override;
  Status silu(std::int64_t count, float* x) override;
  Status silu_multiply(const float* gate, const float* up, std::int64_t count, float* out) override;
  Status attention_prepare(const AttentionShape& shape, const float* q, const float* k, const float* v,
                           const float* q_norm, const float* k_norm, const float* inv_freq, std::int32_t first_position,
                           std::int32_t rows, const KvCache& cache, float* q_out, float* gate_out) override;
  Status attention(const AttentionShape& shape, const float* q, const float* gate, const KvCache& cache,
                   std::int32_t first_visible, std::int32_t first_position, std::int32_t rows, float* out) override;
  Status delta_net(const DeltaNetShape& shape, const DeltaNetWeights& weights, float* qkv, const float* z,
                   const float* a, const float* b, std::int32_t rows, const DeltaNetState& state, float* out) override;

 private:
  /// Rounds or copies the input rows as the terms need them; null pointers in the result mean "no memory".
  bool prepare_input(const float* x, std::int64_t x_stride, std::int32_t m, const MatmulTerm* terms,
                     std::int32_t n_terms, MatmulInput* input);

  /// body(begin, end) over pieces of [0, count); pieces of less than `grain` units are not worth another thread.
  template <class Body>
  void for_ranges(std::int64_t count, std::int64_t grain, const Body& body);

  const Target& target_;
  ThreadPool pool_;
  Scratch scratch_;
  Scratch plan_scratch_;  // beside the input that scratch_ holds meanwhile
};

template <class Body>
void CpuBackend::for_ranges(std::int64_t count, std::int64_t grain, const Body& body) {
  constexpr int kPiecesPerThread = 4;
  if (grain < 1) grain = 1;
  const std::int64_t most = static_cast<std::int64_t>(threads()) * kPiecesPerThread;
  const std::int64_t wanted = count / grain;
  const std::int64_t pieces = wanted < 1 ? 1 : (wanted < most ? wanted : most);
  pool_.parallel_for(static_cast<int>(pieces), [&](int i, int) { body(count * i / pieces, count * (i + 1) / pieces); });
}

/// The targets compiled in, best first.
const std::vector<const Target*>& compiled_targets();
/// Whether this CPU (and operating system) runs the target's instructions.
bool runs_here(const Target& target);

}  // namespace pipo::kernels::cpu
