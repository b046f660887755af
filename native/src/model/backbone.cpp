#include "model/backbone.h"

#include "model/layers/attention.h"
#include "model/layers/delta_net.h"
#include "model/layers/mlp.h"

namespace pipo {
namespace {

/// Index of the next layer within each kind's states.
struct Places {
  std::int32_t attention = 0, delta_net = 0;
};

Status run_layer(const Forward& f, const LayerWeights& layer, HostStates& states, const ChunkPlace& chunk,
                 Places& places) {
  if (layer.type == LayerType::kFullAttention) {
    const AttentionSpan span{chunk.first_position, chunk.rows, 0};
    PIPO_TRY(attention_block(f, layer, span, states.kv().layer(places.attention++), f.ws.x));
  } else {
    PIPO_TRY(delta_net_block(f, layer, chunk.rows, states.recurrent(), places.delta_net++, chunk.points, f.ws.x));
  }
  return mlp_block(f, layer, chunk.rows, f.ws.x);
}

}  // namespace

RunResult run_backbone(const Forward& f, const ModelWeights& weights, HostStates& states, const ChunkPlace& chunk,
                       const StopSignal* stop, float* hidden) {
  Places places;
  for (const LayerWeights& layer : weights.layers) {
    if (stop != nullptr && stop->requested()) return {Status::kOk, true};
    const Status status = run_layer(f, layer, states, chunk, places);
    if (status != Status::kOk) return {status};
  }
  return {f.ops.rms_norm(f.ws.x, weights.final_norm, f.eps, chunk.rows, f.hidden_size, hidden)};
}

}  // namespace pipo
