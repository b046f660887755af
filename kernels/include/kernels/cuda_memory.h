#pragma once

#include <string>

#include "kernels/cuda_api.h"

namespace pipo::kernels {

/// Every byte that a model and one session of `max_positions` will take on the device, from shapes alone. Counted with
/// the same code as the engine allocates by; `n_snapshots` states beside the running ones.
PipoCudaMemory plan_cuda_memory(const PipoCudaConfig& config, const PipoCudaTensor* tensors, int n_tensors,
                                int max_positions, int n_snapshots);

std::int64_t total_bytes(const PipoCudaMemory& memory);

/// Empty when the plan fits into `free_bytes` with some room for the driver; else the figures and what to do.
std::string memory_refusal(const PipoCudaMemory& memory, std::int64_t free_bytes, int max_positions);

}  // namespace pipo::kernels
