#include "model/pre_gate.h"

#include <cmath>

#include "model/layers/linear.h"

namespace pipo {

Status pre_gate_of(const Forward& f, const PreGateWeights& w, const float* hidden, float* g) {
  PIPO_TRY(linear(f, hidden, 1, {{w.linear, f.ws.scalar, w.bias}}));
  *g = 1.0f / (1.0f + std::exp(-f.ws.scalar[0]));
  return Status::kOk;
}

}  // namespace pipo
