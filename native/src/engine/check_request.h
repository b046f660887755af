#pragma once

#include <span>

#include "pipo/model_description.h"
#include "pipo/request.h"

namespace pipo {

/// Throw kBadRequest, or kUnsupported for a mode that the model lacks, with what is wrong.
void check_request(const GenerateRequest& request, const ModelConfig& config);
void check_ids(std::span<const std::int32_t> ids, DecodeMode mode, const ModelConfig& config);

/// Throws kBadRequest when that many slots do not fit.
void check_length(std::size_t n_slots, DecodeMode mode, std::int32_t max_positions);

}  // namespace pipo
