#pragma once

#include "pipo/model_description.h"

namespace pipo {

/// Throws kBadConfig or kUnsupported with what is wrong.
void check_config(const ModelConfig& config);

/// Compares the tensor table with what the config needs: missing and unknown names, shapes, sizes, overlaps.
/// Throws kMissingTensor, kBadShape or kBadFile, naming tensors.
void check_tensors(const ModelDescription& model);

}  // namespace pipo
