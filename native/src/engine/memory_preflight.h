#pragma once

#include <cstdint>
#include <optional>

#include "cache/state_shape.h"
#include "pipo/engine.h"

namespace pipo {

/// Checks made before the first big allocation, so that a model too large gives words instead of a dead process.
/// `available` is empty where the platform does not say; then everything passes. Both throw kNotEnoughMemory with the
/// figures and what to do.
void require_memory_for_load(std::int64_t weight_bytes, std::int64_t workspace_bytes, WeightDtype dtype,
                             std::optional<std::int64_t> available);

/// `mapped_weight_bytes`: weights in a mapped file, which count as available memory although they are needed.
void require_memory_for_session(const StateShape& shape, std::int32_t max_positions, std::int64_t mapped_weight_bytes,
                                std::optional<std::int64_t> available);

}  // namespace pipo
