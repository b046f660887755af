#pragma once

#include <memory>

#include "kernels/backend.h"

namespace pipo::kernels {

/// The meaning of every operation in the plainest code: one thread, one loop per sum, no blocking.
/// Every other backend is tested against it.
class ReferenceBackend final : public Backend {
 public:
  const char* name() const override { return "reference"; }
  int threads() const override { return 1; }

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
};

/// `threads` is accepted for the registry's sake; the reference always runs on the caller's thread.
std::unique_ptr<Backend> make_reference_backend(int threads);

}  // namespace pipo::kernels
