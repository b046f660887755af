#include "model/compressor.h"

#include "model/layers/linear.h"

namespace pipo {

Status compress(const Forward& f, const CompressorWeights& w, const PackedMatrix& embedding, const std::int32_t* slots,
                std::int32_t rows, float* latents) {
  Workspace& ws = f.ws;
  PIPO_TRY(f.ops.embed(embedding, slots, 2 * rows, ws.embeddings));
  if (w.type == CompressorType::kLinear) return linear(f, ws.embeddings, rows, {{w.outer, latents, w.outer_bias}});
  PIPO_TRY(linear(f, ws.embeddings, rows, {{w.inner, ws.inner, w.inner_bias}}));
  PIPO_TRY(f.ops.silu(std::int64_t{rows} * 2 * f.hidden_size, ws.inner));
  return linear(f, ws.inner, rows, {{w.outer, latents, w.outer_bias}});
}

}  // namespace pipo
