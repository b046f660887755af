#include "model/draft_head.h"

#include "model/layers/mlp.h"

namespace pipo {
namespace {

/// ws.x [rows, H] = W_fc [norm(E next) ; norm(h)]
Status join(const Forward& f, const DraftHeadWeights& w, const PackedMatrix& embedding, const DraftInput& input,
            std::int32_t rows) {
  Workspace& ws = f.ws;
  const std::int32_t size = f.hidden_size;
  PIPO_TRY(f.ops.embed(embedding, input.next_slots, rows, ws.embeddings));
  for (std::int64_t row = 0; row < rows; ++row) {
    float* joined = ws.normed + row * 2 * size;
    PIPO_TRY(f.ops.rms_norm(ws.embeddings + row * size, w.embedding_norm, f.eps, 1, size, joined));
    PIPO_TRY(f.ops.rms_norm(input.hidden + row * size, w.hidden_norm, f.eps, 1, size, joined + size));
  }
  return linear(f, ws.normed, rows, {{w.fc, ws.x}});
}

}  // namespace

Status draft_hidden(const Forward& f, const DraftHeadWeights& w, const PackedMatrix& embedding, const DraftInput& input,
                    const AttentionSpan& span, const kernels::KvCache& cache, float* out) {
  PIPO_TRY(join(f, w, embedding, input, span.rows));
  PIPO_TRY(attention_block(f, w.layer, span, cache, f.ws.x));
  PIPO_TRY(mlp_block(f, w.layer, span.rows, f.ws.x));
  return f.ops.rms_norm(f.ws.x, w.norm, f.eps, span.rows, f.hidden_size, out);
}

Status draft_rows(const Forward& f, const DraftHeadWeights& w, const PackedMatrix& embedding, const DraftInput& input,
                  const AttentionSpan& span, const kernels::KvCache& cache) {
  PIPO_TRY(join(f, w, embedding, input, span.rows));
  return attention_rows(f, w.layer, span, cache, f.ws.x);
}

}  // namespace pipo
