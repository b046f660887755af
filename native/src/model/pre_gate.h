#pragma once

#include "model/forward.h"
#include "model/weights.h"

namespace pipo {

/// g = sigmoid(w h + b), fp32; `hidden` [H], after the backbone's final norm. Does not need the draft head.
Status pre_gate_of(const Forward& f, const PreGateWeights& w, const float* hidden, float* g);

}  // namespace pipo
