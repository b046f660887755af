#include "kernels/check_shapes.h"

namespace pipo::kernels {
namespace {

Status ok_if(bool condition) { return condition ? Status::kOk : Status::kBadShape; }

bool valid_matrix(const PackedMatrix& matrix) {
  return matrix.data != nullptr && packed_bytes(matrix.type, matrix.group, matrix.n, matrix.k) > 0;
}

}  // namespace

Status check_packing(WeightType type, int group, int n, int k, int first_row, int n_rows) {
  const bool rows_fit = first_row >= 0 && n_rows >= 0 && n_rows <= n - first_row;
  if (packed_bytes(type, group, n, k) == 0 || !rows_fit) return Status::kBadShape;
  // A panel is written at once: only the matrix's last one may be incomplete.
  return ok_if(first_row % kPanelRows == 0 && (n_rows % kPanelRows == 0 || first_row + n_rows == n));
}

Status check_matmul(std::int64_t x_stride, std::int32_t m, const MatmulTerm* terms, std::int32_t n_terms) {
  if (m < 0 || n_terms <= 0) return Status::kBadShape;
  for (int t = 0; t < n_terms; ++t) {
    const MatmulTerm& term = terms[t];
    if (term.w == nullptr || !valid_matrix(*term.w) || term.w->k != terms[0].w->k) return Status::kBadShape;
    if (m > 1 && term.y_stride < term.w->n) return Status::kBadShape;
  }
  return ok_if(m <= 1 || x_stride >= terms[0].w->k);
}

Status check_embed(const PackedMatrix& table, const std::int32_t* ids, std::int32_t count) {
  if (!valid_matrix(table) || count < 0) return Status::kBadShape;
  for (int i = 0; i < count; ++i) {
    if (ids[i] < 0 || ids[i] >= table.n) return Status::kBadShape;
  }
  return Status::kOk;
}

Status check_attention(const AttentionShape& shape, const KvCache& cache, std::int32_t first_visible,
                       std::int32_t first_position, std::int32_t rows) {
  const bool heads_fit = shape.n_kv_heads > 0 && shape.n_heads > 0 && shape.n_heads % shape.n_kv_heads == 0;
  const bool dims_fit = shape.head_dim > 0 && shape.head_dim <= kMaxHeadDim && shape.rotary_dim >= 0 &&
                        shape.rotary_dim % 2 == 0 && shape.rotary_dim <= shape.head_dim;
  const bool scales_fit = shape.softmax_scale >= 0.0f && shape.rotary_scale > 0.0f;  // and are no NaN
  const bool cache_fits =
      cache.keys != nullptr && cache.values != nullptr && rows >= 0 && first_position <= cache.capacity - rows;
  return ok_if(heads_fit && dims_fit && scales_fit && cache_fits && first_visible >= 0 &&
               first_visible <= first_position);
}

Status check_delta_net(const DeltaNetShape& shape, std::int32_t rows) {
  const bool heads_fit =
      shape.n_key_heads > 0 && shape.n_value_heads > 0 && shape.n_value_heads % shape.n_key_heads == 0;
  const bool dims_fit = shape.key_dim > 0 && shape.key_dim <= kMaxHeadDim && shape.value_dim > 0 &&
                        shape.value_dim <= kMaxHeadDim && shape.conv_kernel > 0 && shape.conv_kernel <= kMaxConvKernel;
  return ok_if(heads_fit && dims_fit && rows >= 0);
}

}  // namespace pipo::kernels
