#pragma once

#include "model/forward.h"
#include "model/weights.h"

namespace pipo {

/// Which positions a run of rows covers, and from where on they see.
struct AttentionSpan {
  std::int32_t first_position = 0;
  std::int32_t rows = 0;
  std::int32_t first_visible = 0;
};

/// Full attention with rotary embedding: x += o_proj(attention(q, k, v) * sigmoid(gate)), all projected from norm(x); the
/// gate where the config has one. x [rows, H]. Appends K/V rows to the cache.
Status attention_block(const Forward& f, const LayerWeights& layer, const AttentionSpan& span,
                       const kernels::KvCache& cache, float* x);

/// Only the K/V rows of norm(x).
Status attention_rows(const Forward& f, const LayerWeights& layer, const AttentionSpan& span,
                      const kernels::KvCache& cache, const float* x);

}  // namespace pipo
