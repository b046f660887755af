#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "kernels/cuda_library.h"
#include "model/run_result.h"

namespace pipo {

/// The CUDA library as a model and its timelines call it: one call at a time, and the words of the last failure kept.
class CudaCalls {
 public:
  explicit CudaCalls(std::shared_ptr<kernels::CudaLibrary> library) : library_(std::move(library)) {}
  CudaCalls(const CudaCalls&) = delete;
  CudaCalls& operator=(const CudaCalls&) = delete;

  const PipoCudaApi& api() const { return library_->api(); }
  const PipoCudaDevice& device() const { return library_->device(); }

  /// Calls a function of the table that answers a status; the place for words is added.
  template <class... Parameters, class... Arguments>
  PipoCudaStatus status(PipoCudaStatus (*PipoCudaApi::*function)(Parameters...), Arguments... arguments) {
    const std::lock_guard lock(mutex_);
    PipoCudaError error{};
    const PipoCudaStatus answer = (api().*function)(arguments..., &error);
    if (answer != kPipoCudaOk) words_ = error.words;
    return answer;
  }
  /// As `status`, in the terms of the engine's operations.
  template <class... Parameters, class... Arguments>
  Status run(PipoCudaStatus (*PipoCudaApi::*function)(Parameters...), Arguments... arguments) {
    return to_status(status(function, arguments...));
  }
  /// As `status`, for calls outside of operations. Throws std::bad_alloc when memory is short, else kInternal.
  template <class... Parameters, class... Arguments>
  void require(PipoCudaStatus (*PipoCudaApi::*function)(Parameters...), Arguments... arguments) {
    require_ok(status(function, arguments...));
  }
  /// Calls a function of the table that gives something back to the device.
  template <class Object>
  void destroy(void (*PipoCudaApi::*function)(Object*), Object* object) {
    const std::lock_guard lock(mutex_);
    (api().*function)(object);
  }

  static Status to_status(PipoCudaStatus status);
  std::string last_error() const;

 private:
  void require_ok(PipoCudaStatus status) const;

  std::shared_ptr<kernels::CudaLibrary> library_;
  mutable std::mutex mutex_;
  std::string words_;
};

}  // namespace pipo
