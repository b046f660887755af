#pragma once

#include "model/layers/linear.h"

namespace pipo {

/// x += down(SiLU(gate u) * (up u)), u = norm(x); x [rows, H].
inline Status mlp_block(const Forward& f, const LayerWeights& layer, std::int32_t rows, float* x) {
  Workspace& ws = f.ws;
  const MlpWeights& w = layer.mlp;
  PIPO_TRY(f.ops.rms_norm(x, layer.post_attention_norm, f.eps, rows, f.hidden_size, ws.normed));
  PIPO_TRY(linear(f, ws.normed, rows, {{w.gate_proj, ws.mlp_gate}, {w.up_proj, ws.mlp_up}}));
  PIPO_TRY(f.ops.silu_multiply(ws.mlp_gate, ws.mlp_up, std::int64_t{rows} * f.intermediate_size, ws.mlp_gate));
  return linear_add(f, ws.mlp_gate, rows, w.down_proj, x);
}

}  // namespace pipo
