/// The emulated library with failures on order: a stand-in for devices that are small, full, or break.
#include <dlfcn.h>

#include <cstdio>
#include <string>

#include "cuda/engine/failures.h"
#include "kernels/cuda_api.h"

namespace {

using pipo::test::Failure;

Failure ordered = Failure::kNone;
const PipoCudaApi* real = nullptr;

PipoCudaStatus answer(PipoCudaStatus status, PipoCudaError* error) {
  std::snprintf(error->words, sizeof error->words, "this failure was ordered; restart the engine");
  return status;
}

PipoCudaStatus device(PipoCudaDevice* out, PipoCudaError* error) {
  const PipoCudaStatus status = real->device(out, error);
  if (ordered == Failure::kSmallDevice) out->free_bytes = 300 << 20;
  return status;
}

PipoCudaStatus plan(const PipoCudaConfig* config, const PipoCudaTensor* tensors, int32_t n_tensors,
                    int32_t max_positions, int32_t n_snapshots, PipoCudaMemory* out, PipoCudaError* error) {
  const PipoCudaStatus status = real->plan(config, tensors, n_tensors, max_positions, n_snapshots, out, error);
  if (ordered == Failure::kSmallDevice) out->weights = int64_t{9} << 30;
  return status;
}

PipoCudaStatus model_create(const PipoCudaConfig* config, const PipoCudaTensor* tensors, int32_t n_tensors,
                            int32_t (*keep_going)(void*, double), void* context, PipoCudaModel** out,
                            PipoCudaError* error) {
  if (ordered == Failure::kUpload) return answer(kPipoCudaOutOfMemory, error);
  return real->model_create(config, tensors, n_tensors, keep_going, context, out, error);
}

PipoCudaStatus reserve(PipoCudaSession* session, int32_t positions, int32_t used, PipoCudaError* error) {
  if (ordered == Failure::kRoom && positions > 400) return answer(kPipoCudaOutOfMemory, error);
  return real->reserve(session, positions, used, error);
}

PipoCudaStatus extend(PipoCudaSession* session, const PipoCudaExtend* chunk, PipoCudaError* error) {
  if (ordered == Failure::kExtend) return answer(kPipoCudaDeviceError, error);
  PipoCudaExtend wrong = *chunk;
  if (ordered == Failure::kWrongChunks && chunk->rows > 8) ++wrong.slots;
  return real->extend(session, &wrong, error);
}

PipoCudaStatus step_take(PipoCudaSession* session, int32_t* any, PipoCudaStep* out, PipoCudaError* error) {
  if (ordered == Failure::kStep) return answer(kPipoCudaDeviceError, error);
  const PipoCudaStatus status = real->step_take(session, any, out, error);
  if (ordered == Failure::kWrongSteps) out->first ^= 1;
  return status;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) void pipo_cuda_order(Failure failure) { ordered = failure; }

extern "C" __attribute__((visibility("default"))) const PipoCudaApi* pipo_cuda_api(uint32_t version) {
  void* library = dlopen(PIPO_CUDA_LIBRARY, RTLD_NOW | RTLD_LOCAL);
  const auto entry = library != nullptr ? reinterpret_cast<PipoCudaEntry>(dlsym(library, PIPO_CUDA_ENTRY)) : nullptr;
  real = entry != nullptr ? entry(version) : nullptr;
  if (real == nullptr) return nullptr;
  static PipoCudaApi api;
  api = *real;
  api.device = device;
  api.plan = plan;
  api.model_create = model_create;
  api.reserve = reserve;
  api.extend = extend;
  api.step_take = step_take;
  return &api;
}
