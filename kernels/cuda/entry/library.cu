#include <cuda_runtime.h>

#include <cstdio>

#include "kernels/cuda_api.h"

/// The entry of the shared library. Functions that the table does not fill yet are null; the engine asks before use.
namespace {

PipoCudaStatus fail(PipoCudaStatus status, PipoCudaError* error, const char* what, cudaError_t code) {
  std::snprintf(error->words, sizeof error->words, "%s (%s)", what, cudaGetErrorString(code));
  return status;
}

PipoCudaStatus device(PipoCudaDevice* out, PipoCudaError* error) {
  int count = 0;
  cudaDriverGetVersion(&out->driver_version);
  cudaRuntimeGetVersion(&out->runtime_version);
  const cudaError_t counted = cudaGetDeviceCount(&count);
  if (counted == cudaErrorInsufficientDriver) {
    return fail(kPipoCudaUnusable, error, "the NVIDIA driver is too old for these kernels; update it", counted);
  }
  if (counted != cudaSuccess || count == 0) {
    return fail(kPipoCudaUnusable, error, "no NVIDIA device can be used here", counted);
  }
  cudaDeviceProp properties{};
  const cudaError_t asked = cudaGetDeviceProperties(&properties, 0);
  if (asked != cudaSuccess) return fail(kPipoCudaDeviceError, error, "the device does not answer", asked);
  std::snprintf(out->name, sizeof out->name, "%s", properties.name);
  out->capability_major = properties.major;
  out->capability_minor = properties.minor;
  out->multiprocessors = properties.multiProcessorCount;
  std::size_t free_bytes = 0, total_bytes = 0;
  const cudaError_t measured = cudaMemGetInfo(&free_bytes, &total_bytes);
  if (measured != cudaSuccess) return fail(kPipoCudaDeviceError, error, "the device cannot be opened", measured);
  out->free_bytes = static_cast<std::int64_t>(free_bytes);
  out->total_bytes = static_cast<std::int64_t>(total_bytes);
  return kPipoCudaOk;
}

const PipoCudaApi kApi = [] {
  PipoCudaApi api{};
  api.version = PIPO_CUDA_API_VERSION;
  api.device = device;
  return api;
}();

}  // namespace

extern "C" __attribute__((visibility("default"))) const PipoCudaApi* pipo_cuda_api(std::uint32_t version) {
  return version == PIPO_CUDA_API_VERSION ? &kApi : nullptr;
}
