#pragma once

#include <stdexcept>
#include <string>

namespace pipo {

/// The closed list that crosses the addon as `code`; spelled there in camelCase.
enum class ErrorCode {
  kBadFile,
  kBadConfig,
  kMissingTensor,
  kBadShape,
  kNotEnoughMemory,
  kUnsupported,
  kBadRequest,
  kBusy,
  kClosed,
  kIo,
  kCancelled,
  kInternal,
};

/// Thrown while loading and for bad requests, never from the decode loop. The message says what to do.
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace pipo
