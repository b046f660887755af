#pragma once

#include "model/forward.h"
#include "model/layers/attention.h"
#include "model/weights.h"

namespace pipo {

/// What the draft head reads for a run of rows: the hidden vector of each position and the first slot of the next one.
struct DraftInput {
  const float* hidden = nullptr;             ///< [rows, H], after the backbone's final norm
  const std::int32_t* next_slots = nullptr;  ///< [rows]
};

/// m = norm(Block(W_fc [norm(E next) ; norm(h)])), Block a full-attention layer at the same positions; out [rows, H].
Status draft_hidden(const Forward& f, const DraftHeadWeights& w, const PackedMatrix& embedding, const DraftInput& input,
                    const AttentionSpan& span, const kernels::KvCache& cache, float* out);

/// Only the block's K/V rows, so that later drafts can see these positions.
Status draft_rows(const Forward& f, const DraftHeadWeights& w, const PackedMatrix& embedding, const DraftInput& input,
                  const AttentionSpan& span, const kernels::KvCache& cache);

}  // namespace pipo
