#pragma once

#include <napi.h>

#include <vector>

#include "pipo/engine.h"
#include "pipo/result.h"

/// The engine's plain structs to JavaScript values, field by field as in server/src/engine/addon.ts.
namespace pipo::binding {

Napi::Object make_info(Napi::Env env, const EngineInfo& info);
Napi::Array make_tensor_table(Napi::Env env, const std::vector<TensorSpec>& tensors);
Napi::Object make_progress(Napi::Env env, LoadStage stage, double fraction);
Napi::Object make_step(Napi::Env env, const Step& step);
Napi::Object make_generate_result(Napi::Env env, const GenerateResult& result);
Napi::Array make_inspection(Napi::Env env, const std::vector<InspectedPosition>& positions);

}  // namespace pipo::binding
