#include "kernels/cuda_library.h"

#include <dlfcn.h>

namespace pipo::kernels {
namespace {

constexpr int kLeastMajor = 8;  // Ampere: bf16 matrix instructions and asynchronous copies

std::string megabytes(std::int64_t bytes) { return std::to_string(bytes >> 20) + " MB"; }

std::string version(int packed) { return std::to_string(packed / 1000) + "." + std::to_string(packed % 1000 / 10); }

/// The folder of the module that this function was linked into: the addon, a tool or a test.
std::string own_folder() {
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void*>(&own_folder), &info) == 0 || info.dli_fname == nullptr) return {};
  const std::string path = info.dli_fname;
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? std::string() : path.substr(0, slash + 1);
}

std::shared_ptr<CudaLibrary> refuse(std::string* reason, const std::string& why) {
  if (reason != nullptr) *reason = why;
  return nullptr;
}

/// Only asks whether it is there. libcuda.so.1 of the driver; on WSL it lies in a folder that the loader knows.
bool driver_present(const std::string& name) {
  void* driver = dlopen(name.c_str(), RTLD_LAZY | RTLD_LOCAL);
  if (driver == nullptr) return false;
  dlclose(driver);
  return true;
}

}  // namespace

std::string refusal_of(const PipoCudaDevice& d, std::int64_t minimum_bytes) {
  const std::string name = d.name;
  if (d.driver_version < d.runtime_version / 1000 * 1000) {
    return "the NVIDIA driver supports CUDA " + version(d.driver_version) + ", these kernels need CUDA " +
           std::to_string(d.runtime_version / 1000) + ".0 or newer; update the driver";
  }
  if (d.capability_major < kLeastMajor) {
    return "the device " + name + " has compute capability " + std::to_string(d.capability_major) + "." +
           std::to_string(d.capability_minor) + ", these kernels need 8.0 or newer";
  }
  if (d.free_bytes < minimum_bytes) {
    return "the device " + name + " has " + megabytes(d.free_bytes) + " of " + megabytes(d.total_bytes) +
           " free; close other programs that use it";
  }
  return {};
}

std::shared_ptr<CudaLibrary> open_cuda_library(const CudaLocation& location, std::string* reason) {
  const std::string driver = location.driver.empty() ? "libcuda.so.1" : location.driver;
  if (!driver_present(driver)) return refuse(reason, "there is no NVIDIA driver on this machine (" + driver + ")");
  const std::string path = location.library.empty() ? own_folder() + "libpipo_cuda.so" : location.library;
  // Not RTLD_GLOBAL: the static CUDA runtime inside must not meet another one of the host program.
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* error = dlerror();
    return refuse(reason, "the CUDA kernels are not part of this build or do not load (" +
                              std::string(error != nullptr ? error : path) + ")");
  }
  const auto entry = reinterpret_cast<PipoCudaEntry>(dlsym(library, PIPO_CUDA_ENTRY));
  const PipoCudaApi* api = entry != nullptr ? entry(PIPO_CUDA_API_VERSION) : nullptr;
  if (api == nullptr) return refuse(reason, path + " is of another version; install the extension again");
  PipoCudaDevice device{};
  PipoCudaError error{};
  if (api->device(&device, &error) != kPipoCudaOk) return refuse(reason, error.words);
  const std::string why = refusal_of(device, location.minimum_bytes);
  if (!why.empty()) return refuse(reason, why);
  return std::make_shared<CudaLibrary>(api, device);
}

}  // namespace pipo::kernels
