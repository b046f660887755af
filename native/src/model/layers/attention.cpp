#include "model/layers/attention.h"

#include "model/layers/linear.h"

namespace pipo {

Status attention_block(const Forward& f, const LayerWeights& layer, const AttentionSpan& span,
                       const kernels::KvCache& cache, float* x) {
  Workspace& ws = f.ws;
  const AttentionWeights& w = layer.attention;
  PIPO_TRY(f.ops.rms_norm(x, layer.input_norm, f.eps, span.rows, f.hidden_size, ws.normed));
  PIPO_TRY(linear(f, ws.normed, span.rows,
                  {{w.q_proj, ws.projected, w.q_bias}, {w.k_proj, ws.key, w.k_bias}, {w.v_proj, ws.value, w.v_bias}}));
  float* gate = f.attention.output_gate ? ws.gate : nullptr;
  PIPO_TRY(f.ops.attention_prepare(f.attention, ws.projected, ws.key, ws.value, w.q_norm, w.k_norm, f.inv_freq,
                                   span.first_position, span.rows, cache, ws.query, gate));
  PIPO_TRY(f.ops.attention(f.attention, ws.query, gate, cache, span.first_visible, span.first_position, span.rows,
                           ws.mixed));
  return linear_add(f, ws.mixed, span.rows, w.o_proj, x);
}

Status attention_rows(const Forward& f, const LayerWeights& layer, const AttentionSpan& span,
                      const kernels::KvCache& cache, const float* x) {
  Workspace& ws = f.ws;
  const AttentionWeights& w = layer.attention;
  PIPO_TRY(f.ops.rms_norm(x, layer.input_norm, f.eps, span.rows, f.hidden_size, ws.normed));
  PIPO_TRY(linear(f, ws.normed, span.rows, {{w.k_proj, ws.key, w.k_bias}, {w.v_proj, ws.value, w.v_bias}}));
  return f.ops.attention_prepare(f.attention, nullptr, ws.key, ws.value, w.q_norm, w.k_norm, f.inv_freq,
                                 span.first_position, span.rows, cache, nullptr, nullptr);
}

}  // namespace pipo
