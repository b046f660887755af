#pragma once

#include "model/forward.h"
#include "model/weights.h"

namespace pipo {

/// c = sigmoid(fc2 SiLU(fc1 norm([h ; m]))), fp32; `hidden` and `draft` [H]. Does not need the draft token.
Status confidence_of(const Forward& f, const ConfidenceHeadWeights& w, const float* hidden, const float* draft,
                     float* confidence);

}  // namespace pipo
