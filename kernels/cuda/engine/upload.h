#pragma once

#include <vector>

#include "kernels/cuda/engine/weights.h"
#include "kernels/cuda/launchers.h"

namespace pipo::cuda {

/// Brings placed tensors from the engine's packed layout in host memory to the device. `staging` is device memory of
/// 2 kStagingBytes. `keep_going`, which may be null, hears the fraction done; its 0 ends the upload with
/// kPipoCudaCancelled.
void upload(const std::vector<PlacedTensor>& tensors, void* staging, int multiprocessors,
            int32_t (*keep_going)(void*, double), void* context);

}  // namespace pipo::cuda
