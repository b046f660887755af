#pragma once

namespace pipo::kernels {

/// What an operation answers. Kernels never throw and never print.
enum class [[nodiscard]] Status : int {
  kOk = 0,
  kBadShape,     ///< a dimension is negative, zero where it must not be, or not supported by the layout
  kUnsupported,  ///< this backend cannot run the combination asked for
  kOutOfMemory,  ///< scratch memory could not be had
  kDeviceError,  ///< the device reported an error; `Backend::last_error()` has the words
};

/// A constant English phrase for messages.
const char* status_text(Status status);

}  // namespace pipo::kernels
