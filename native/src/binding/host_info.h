#pragma once

#include <napi.h>

#include "pipo/engine.h"

namespace pipo::binding {

/// `HostInfo` of the contract.
Napi::Object make_host_info(Napi::Env env);

/// `CudaInfo` of the contract.
Napi::Object make_cuda_info(Napi::Env env, const DeviceInfo& device);

}  // namespace pipo::binding
