#pragma once

#include "kernels/cuda/engine/session.h"

namespace pipo::cuda {

/// Appends a chunk of positions, as PipoCudaApi::extend. Returns when the work is queued. Throws kPipoCudaCancelled.
void extend(Session& session, const PipoCudaExtend& chunk);

}  // namespace pipo::cuda
