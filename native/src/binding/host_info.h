#pragma once

#include <napi.h>

#include <string>

#include "kernels/cuda_api.h"

namespace pipo::binding {

/// `HostInfo` of the contract.
Napi::Object make_host_info(Napi::Env env);

/// `CudaInfo` of the contract: of a device that can be used, or with the reason why none can.
Napi::Object make_cuda_info(Napi::Env env, const PipoCudaDevice& device);
Napi::Object make_cuda_refusal(Napi::Env env, const std::string& reason);

}  // namespace pipo::binding
