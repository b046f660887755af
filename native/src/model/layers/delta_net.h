#pragma once

#include <span>

#include "cache/host_states.h"
#include "model/forward.h"
#include "model/weights.h"

namespace pipo {

/// x += out_proj(gated delta rule of norm(x)); x [rows, H]. Advances layer `index` of `states`; `points` ascend.
Status delta_net_block(const Forward& f, const LayerWeights& layer, std::int32_t rows, RecurrentStates& states,
                       std::int32_t index, std::span<const SnapshotPoint> points, float* x);

}  // namespace pipo
