#pragma once

#include "kernels/status.h"

namespace pipo {

using kernels::Status;

/// How a run through the layers ended.
struct RunResult {
  Status status = Status::kOk;
  bool stopped = false;

  bool done() const { return status == Status::kOk && !stopped; }
};

}  // namespace pipo
