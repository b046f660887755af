#include "decode/gates/confidence.h"

namespace pipo {
namespace {

constexpr const Gate* kGates[] = {&kConfidenceGate};

}  // namespace

std::span<const Gate* const> gates() { return kGates; }

}  // namespace pipo
