#pragma once

#include "pipo/engine.h"

/// What a step must move and a prompt must compute, from the shapes alone.
namespace pipo::bench {

/// Bytes of one plain step after `positions` of context. Recurrent states count twice: they are read and written.
struct StepBytes {
  std::int64_t weights = 0, states = 0, cache = 0;
  std::int64_t all() const { return weights + states + cache; }
};
StepBytes plain_step_bytes(const ModelConfig& config, const EngineInfo& info, int positions);

/// Multiplications and additions of a prompt of `positions`: products with weights, and attention over what each
/// position sees. The gated delta rule (about a hundredth) and vectors are left out; in pair mode the compressor and
/// the draft head's keys and values are in.
double prefill_ops(const ModelConfig& config, DecodeMode mode, int positions);

}  // namespace pipo::bench
