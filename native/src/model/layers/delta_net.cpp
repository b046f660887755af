#include "model/layers/delta_net.h"

#include "model/layers/linear.h"

namespace pipo {
namespace {

Status advance(const Forward& f, const DeltaNetLayerWeights& w, std::int32_t first_row, std::int32_t rows,
               const kernels::DeltaNetState& state) {
  if (rows == 0) return Status::kOk;
  const kernels::DeltaNetShape& shape = f.delta_net;
  const Workspace& ws = f.ws;
  return f.ops.delta_net(shape, w.mixer, ws.projected + std::int64_t{first_row} * shape.channels(),
                         ws.query + std::int64_t{first_row} * shape.value_width(),
                         ws.key + std::int64_t{first_row} * shape.n_value_heads,
                         ws.value + std::int64_t{first_row} * shape.n_value_heads, rows, state,
                         ws.mixed + std::int64_t{first_row} * shape.value_width());
}

}  // namespace

Status delta_net_block(const Forward& f, const LayerWeights& layer, std::int32_t rows, RecurrentStates& states,
                       std::int32_t index, std::span<const SnapshotPoint> points, float* x) {
  Workspace& ws = f.ws;
  const DeltaNetLayerWeights& w = layer.delta_net;
  PIPO_TRY(f.ops.rms_norm(x, layer.input_norm, f.eps, rows, f.hidden_size, ws.normed));
  PIPO_TRY(
      linear(f, ws.normed, rows,
             {{w.in_proj_qkv, ws.projected}, {w.in_proj_z, ws.query}, {w.in_proj_a, ws.key}, {w.in_proj_b, ws.value}}));
  std::int32_t done = 0;
  for (const SnapshotPoint& point : points) {
    PIPO_TRY(advance(f, w, done, point.rows - done, states.layer(index)));
    host(*point.snapshot).states.copy_layer_from(states, index);
    done = point.rows;
  }
  PIPO_TRY(advance(f, w, done, rows - done, states.layer(index)));
  return linear_add(f, ws.mixed, rows, w.out_proj, x);
}

}  // namespace pipo
