#pragma once

#include <string>

#include "pipo/engine.h"
#include "pipo/model_description.h"

namespace pipo {

/// Config of a released size by name: "0.8b", "2b", "4b", "9b", or "tiny" (the bundled model's shape), with all pair
/// modules. Throws kBadRequest for another name.
ModelConfig released_config(const std::string& size);

/// Writes a packed file with random weights, streaming: nothing large is ever in memory. For benchmarks, where values
/// do not matter, rows repeat after a while. Throws kIo.
void write_random_packed_file(const std::string& path, const std::string& name, const ModelConfig& config,
                              WeightDtype dtype, std::int32_t group_size, int threads = 0,
                              const LoadProgressFn& progress = {});

}  // namespace pipo
