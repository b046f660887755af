#pragma once

#include <memory>
#include <span>

#include "cache/timeline.h"
#include "core/stop_signal.h"
#include "model/forward.h"
#include "model/layers/delta_net.h"
#include "model/weights.h"

namespace pipo {

/// How a run through the layers ended.
struct RunResult {
  Status status = Status::kOk;
  bool stopped = false;

  bool done() const { return status == Status::kOk && !stopped; }
};

/// A decoder: latents in, hidden vectors out, one timeline further.
class Backbone {
 public:
  virtual ~Backbone() = default;
  /// Runs `rows` positions after the timeline's last one through all layers. Reads and destroys f.ws.x [rows, H];
  /// writes `hidden` [rows, H], after the final norm. Fills the states of the snapshots in `points`. Looks at `stop`,
  /// if any, before each layer.
  virtual RunResult forward(const Forward& f, const ModelWeights& weights, Timeline& timeline, std::int32_t rows,
                            std::span<const SnapshotPoint> points, const StopSignal* stop, float* hidden) const = 0;
};

/// The backbone of a config's `architecture`; null when there is none of that name.
std::unique_ptr<Backbone> make_backbone(const std::string& architecture);

}  // namespace pipo
