#pragma once

#include <napi.h>

namespace pipo::binding {

/// `Schema` of the contract: the fields of a config and the words of every enum, as pipo/model_schema.h lists them.
Napi::Object make_schema(Napi::Env env);

}  // namespace pipo::binding
