#pragma once

#include "kernels/cuda/engine/session.h"

namespace pipo::cuda {

/// Queues the launches of one step: first token, draft, gate, second token, and the pair's way through the backbone.
void queue_step(Session& session, const Queue& queue, const StepKind& kind);

}  // namespace pipo::cuda
