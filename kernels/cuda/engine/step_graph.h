#pragma once

#include "kernels/cuda/runtime.h"

namespace pipo::cuda {

/// Graphs of a session's steps.
struct StepGraphs {
  void clear() {}
};

}  // namespace pipo::cuda
