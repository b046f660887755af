#pragma once

#include <cstdint>

#include "kernels/ops.h"
#include "model/run_result.h"
#include "model/workspace.h"

/// Runs an operation and hands a failure up.
#define PIPO_TRY(operation) \
  if (const ::pipo::kernels::Status status = (operation); status != ::pipo::kernels::Status::kOk) return status

namespace pipo {

/// What every part of a forward pass works with.
struct Forward {
  kernels::Ops& ops;
  Workspace& ws;
  const float* inv_freq;  ///< [rotary_dim / 2]
  kernels::AttentionShape attention;
  kernels::DeltaNetShape delta_net;
  std::int32_t hidden_size;
  std::int32_t intermediate_size;
  float eps;
};

}  // namespace pipo
