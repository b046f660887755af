#pragma once

#include "decode/gate.h"

namespace pipo {

/// threshold < 0: every draft; 0: every draft, confidence evaluated; (0, 1): confidence >= threshold, in fp32;
/// >= 1: no drafts.
extern const Gate kConfidenceGate;

}  // namespace pipo
