#pragma once

#include "kernels/cuda/engine/session.h"

/// A request whose steps run on the device without waiting for the host; see step.cuh for what a step decides.
namespace pipo::cuda {

void begin_request(Session& session, const PipoCudaRequest& request);
/// Queues one step. At most kStepsAhead may be queued and not taken.
void launch_step(Session& session);
inline constexpr unsigned kStepsAhead = 2;
/// Waits for the first token of the oldest step not taken; false when the request had ended before it.
bool first_of_step(Session& session, int* first);
/// Waits for the oldest step and takes it; false when the request had ended before it.
bool take_step(Session& session, PipoCudaStep* out);

}  // namespace pipo::cuda
