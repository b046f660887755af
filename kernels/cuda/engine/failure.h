#pragma once

#include <cstdio>
#include <new>
#include <string>

#include "kernels/cuda/runtime.h"

/// Failures inside the library are exceptions; at its C border they become a status and words.
namespace pipo::cuda {

struct Failure {
  PipoCudaStatus status;
  std::string words;
};

[[noreturn]] inline void fail(PipoCudaStatus status, std::string words) { throw Failure{status, std::move(words)}; }

/// For what a caller may not ask for.
inline void require(bool condition, const char* words) {
  if (!condition) fail(kPipoCudaUnsupported, words);
}

/// Throws for a code of a launch or of the runtime. `what` completes "cannot ...".
inline void check(int code, const char* what) {
  if (code == 0) return;
  const std::string start = std::string("the GPU cannot ") + what;
  if (code < 0) fail(kPipoCudaUnsupported, start + ": there is no kernel for a shape of this model; use the CPU");
  const std::string reason = std::string(" (") + runtime::error_text(code) + ")";
  if (runtime::is_out_of_memory(code)) {
    fail(kPipoCudaOutOfMemory, start + reason + "; close other programs that use the GPU, or choose a smaller dtype, a "
                                                "smaller context or the CPU");
  }
  fail(kPipoCudaDeviceError, start + reason + "; restart the engine, and choose the CPU if it happens again");
}

/// Runs `body` and turns what it throws into a status.
template <class Body>
PipoCudaStatus guarded(PipoCudaError* error, Body&& body) noexcept {
  const auto say = [error](PipoCudaStatus status, const char* words) {
    if (error != nullptr) std::snprintf(error->words, sizeof error->words, "%s", words);
    return status;
  };
  try {
    body();
    return kPipoCudaOk;
  } catch (const Failure& failure) {
    return say(failure.status, failure.words.c_str());
  } catch (const std::bad_alloc&) {
    return say(kPipoCudaOutOfMemory, "no memory is left in this process; close other programs");
  } catch (...) {
    return say(kPipoCudaDeviceError, "the CUDA engine failed unexpectedly; restart the engine, or choose the CPU");
  }
}

}  // namespace pipo::cuda
