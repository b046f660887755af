#pragma once

#include <memory>
#include <string>

#include "kernels/cuda_api.h"

namespace pipo::kernels {

/// Where the library and the driver are looked for; tests point these elsewhere.
struct CudaLocation {
  std::string library;                          ///< empty: pipo_cuda beside the module that holds this code
  std::string driver;                           ///< empty: the system's name of the NVIDIA driver library
  std::int64_t minimum_bytes = 256ll << 20;     ///< free device memory below which a device is no use
};

/// The loaded library pipo_cuda. It stays loaded for as long as the process lives.
class CudaLibrary {
 public:
  CudaLibrary(const PipoCudaApi* api, const PipoCudaDevice& device) : api_(api), device_(device) {}
  const PipoCudaApi& api() const { return *api_; }
  const PipoCudaDevice& device() const { return device_; }

 private:
  const PipoCudaApi* api_;
  PipoCudaDevice device_;
};

/// Loads the library where a driver is present and a device can be used; otherwise null, and `reason` says in plain
/// words why not. Nothing of NVIDIA's is loaded on a machine without a driver.
std::shared_ptr<CudaLibrary> open_cuda_library(const CudaLocation& location, std::string* reason);

/// Judges a device that answered; empty when it will do.
std::string refusal_of(const PipoCudaDevice& device, std::int64_t minimum_bytes);

}  // namespace pipo::kernels
