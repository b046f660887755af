#include "model/cuda/cuda_calls.h"

#include <new>

#include "pipo/error.h"

namespace pipo {

Status CudaCalls::to_status(PipoCudaStatus status) {
  switch (status) {
    case kPipoCudaOk:
      return Status::kOk;
    case kPipoCudaOutOfMemory:
      return Status::kOutOfMemory;
    case kPipoCudaUnsupported:
      return Status::kUnsupported;
    default:
      return Status::kDeviceError;
  }
}

std::string CudaCalls::last_error() const {
  const std::lock_guard lock(mutex_);
  return words_;
}

void CudaCalls::require_ok(PipoCudaStatus status) const {
  if (status == kPipoCudaOk) return;
  if (status == kPipoCudaOutOfMemory) throw std::bad_alloc();
  throw Error(ErrorCode::kInternal, last_error());
}

}  // namespace pipo
