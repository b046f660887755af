#pragma once

#include "kernels/cuda/engine/session.h"

/// The model's outputs for one position, asked for by the host: the teacher-forced view and steps without the device's
/// own loop. Each but `draft` waits for its result.
namespace pipo::cuda {

/// Draft hidden of `position`, followed by `next_slot`, to the workspace's first draft row.
void draft(Session& session, int position, int next_slot, int first_visible);
float confidence(Session& session, const float* hidden, const float* draft);
float pre_gate(Session& session, const float* hidden);
/// `out` [vocab_size]
void logits(Session& session, const float* hidden, float* out);
void read(Session& session, const float* vector, int count, float* out);

}  // namespace pipo::cuda
