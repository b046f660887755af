#include "kernels/status.h"

namespace pipo::kernels {

const char* status_text(Status status) {
  switch (status) {
    case Status::kOk:
      return "ok";
    case Status::kBadShape:
      return "a dimension or index is out of range";
    case Status::kUnsupported:
      return "this backend does not support the combination asked for";
    case Status::kOutOfMemory:
      return "scratch memory could not be allocated";
    case Status::kDeviceError:
      return "the device reported an error";
  }
  return "unknown status";
}

}  // namespace pipo::kernels
