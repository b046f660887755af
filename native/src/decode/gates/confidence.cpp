#include "decode/gates/confidence.h"

namespace pipo {

const Gate kConfidenceGate{
    "confidence",
    [](float threshold) { return threshold < 1.0f; },
    [](float threshold) { return threshold >= 0.0f; },
    [](float confidence, float threshold) { return threshold <= 0.0f || confidence >= threshold; },
};

}  // namespace pipo
