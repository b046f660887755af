#pragma once

#include "kernels/ops.h"

/// Checks of arguments that every backend makes before it touches memory. kOk, or kBadShape.
namespace pipo::kernels {

/// Larger heads and longer convolutions do not exist, and code with buffers on the stack relies on it.
inline constexpr int kMaxHeadDim = 1024;
inline constexpr int kMaxConvKernel = 16;

Status check_packing(WeightType type, int group, int n, int k, int first_row, int n_rows);
Status check_matmul(std::int64_t x_stride, std::int32_t m, const MatmulTerm* terms, std::int32_t n_terms);
Status check_embed(const PackedMatrix& table, const std::int32_t* ids, std::int32_t count);
Status check_attention(const AttentionShape& shape, const KvCache& cache, std::int32_t first_visible,
                       std::int32_t first_position, std::int32_t rows);
Status check_delta_net(const DeltaNetShape& shape, std::int32_t rows);

}  // namespace pipo::kernels
