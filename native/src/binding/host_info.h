#pragma once

#include <napi.h>

namespace pipo::binding {

/// `HostInfo` of the contract.
Napi::Object make_host_info(Napi::Env env);

}  // namespace pipo::binding
