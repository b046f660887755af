#pragma once

#include <span>

#include "cache/host_states.h"
#include "core/stop_signal.h"
#include "model/forward.h"
#include "model/run_result.h"
#include "model/weights.h"

namespace pipo {

/// The positions of one chunk, and the snapshots wanted inside it.
struct ChunkPlace {
  std::int32_t first_position = 0;
  std::int32_t rows = 0;
  std::span<const SnapshotPoint> points;
};

/// The backbone on the processor: latents in, hidden vectors out, the states one chunk further. Reads and destroys
/// f.ws.x [rows, H]; writes `hidden` [rows, H], after the final norm. Fills the states of the chunk's snapshots. Looks
/// at `stop`, if any, before each layer.
RunResult run_backbone(const Forward& f, const ModelWeights& weights, HostStates& states, const ChunkPlace& chunk,
                       const StopSignal* stop, float* hidden);

}  // namespace pipo
