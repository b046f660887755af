#pragma once

#include "binding/arguments.h"
#include "pipo/engine.h"
#include "pipo/model_description.h"
#include "pipo/request.h"

/// JavaScript values to the engine's plain structs, field by field as in server/src/engine/addon.ts.
namespace pipo::binding {

ModelConfig read_config(const Argument& config);
ModelDescription read_model(const Argument& model);
LoadOptions read_load_options(const Argument& options);
GenerateRequest read_generate_request(const Argument& request);
DecodeMode read_decode_mode(const Argument& mode);

inline constexpr std::int64_t kMostPositions = 1 << 30;

}  // namespace pipo::binding
