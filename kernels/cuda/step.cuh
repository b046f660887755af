#pragma once

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/sample_request.h"

/// The decisions of a pair step, made on the device so that no step waits for the host: what the CPU engine's pair loop
/// decides, in the same order. The big kernels in between look at one word each (`run_*`) and do nothing where it is 0;
/// in a graph with conditional nodes the same words switch whole branches.
///
///   begin      is the request still going, has the host cancelled?
///   [output matrix, sampling -> first]
///   choose     publishes the first token; ends the step there, skips the draft, or runs it
///   [draft head; confidence head -> confidence_logit]
///   judge      keeps or drops the draft
///   [output matrix, sampling -> second]
///   commit     publishes the step; the pair goes through the backbone unless the request has ended
///   [compressor, backbone -> hidden]
///   advance    one position further
namespace pipo::cuda {

constexpr int kRing = 8;  ///< steps the host may lag behind
constexpr int kNone = -1;

/// One step as the host reads it, in memory that both sides see. `first_number` and `number` are step number + 1, each
/// written last.
struct StepRecord {
  int first, second;
  float confidence, first_logprob, second_logprob;
  int drafted;  ///< 0 no draft, 1 it ran, 2 the pre-gate skipped it
  int executed, row_written, ended;
  std::uint64_t begin_ns;         ///< when the step began, by the device's clock
  std::uint64_t previous_end_ns;  ///< when the request's step before had ended; 0 in its first one
  volatile unsigned first_number, number;
};

/// Of one running request; device memory. The first part is written by the host when the request begins.
struct StepState {
  int pair_mode;  ///< else one token per step and no draft
  int pad, max_positions, max_new_tokens, n_stop_ids;
  const int* stop_ids;  ///< [n_stop_ids], device memory
  float threshold, pre_gate_threshold;
  int has_pre_gate;
  int first_visible_mode, first_visible;  ///< rows that drafts see: all; from the second word on; only the own one
  std::uint8_t* seen;          ///< [vocab] or null
  StepRecord* ring;            ///< [kRing], seen by the host
  const volatile int* cancel;  ///< written by the host

  int active, position, tokens;
  unsigned step;
  std::uint64_t slot;                            ///< of the first token; numbers its draw
  int pending[2];                                ///< the pair for the compressor
  int first, second;                             ///< written by sampling
  float first_logprob, second_logprob, pre_gate_logit, confidence_logit, confidence;
  int run_first, run_draft, run_row, run_second, run_backbone;
  int run_join;       ///< run_draft or run_row
  int first_visible_row;
  int drafted;
  std::uint64_t begin_ns, end_ns;  ///< of the running step, of the one before
};

__device__ __forceinline__ bool is_stop_id(const StepState& s, int id) {
  for (int i = 0; i < s.n_stop_ids; ++i) {
    if (s.stop_ids[i] == id) return true;
  }
  return false;
}

/// What follows runs as one thread: a few words each. `choose` and `commit` run also in a step that does nothing.
__device__ __forceinline__ void step_begin(StepState* s) {
  s->begin_ns = device_nanoseconds();
  if (*s->cancel != 0) s->active = 0;
  s->run_first = s->active;
  s->run_draft = s->run_row = s->run_join = s->run_second = s->run_backbone = 0;
  s->slot = static_cast<std::uint64_t>(s->position) * (s->pair_mode ? 2 : 1);
  s->first_visible_row = s->first_visible_mode == 0   ? 0
                         : s->first_visible_mode == 1 ? s->first_visible
                                                      : s->position - 1;
  s->confidence = NAN;
  s->second = kNone;
  s->second_logprob = NAN;
  s->drafted = 0;
}

__device__ __forceinline__ void step_choose(StepState* s) {
  if (!s->active) {
    // The host waits for this step's number all the same.
    StepRecord& record = s->ring[s->step % kRing];
    record.ended = 1;
    __threadfence_system();
    record.first_number = s->step + 1;
    return;
  }
  if (s->seen != nullptr) s->seen[s->first] |= kSeenProduced;
  StepRecord& record = s->ring[s->step % kRing];
  record.first = s->first;
  record.first_logprob = s->first_logprob;
  record.ended = 0;
  __threadfence_system();
  record.first_number = s->step + 1;

  const bool ends = s->tokens + 1 >= s->max_new_tokens || is_stop_id(*s, s->first);
  if (ends || !s->pair_mode) return;
  const bool proposes = s->threshold < 1.0f;
  bool skips = false;
  if (proposes && s->has_pre_gate && s->pre_gate_threshold > 0.0f) {
    skips = s->pre_gate_threshold >= 1.0f || !(sigmoid(s->pre_gate_logit) >= s->pre_gate_threshold);
  }
  s->drafted = !proposes ? 0 : skips ? 2 : 1;
  s->run_draft = s->drafted == 1;
  s->run_join = 1;
  s->run_row = s->drafted != 1;  // later drafts attend to this position's row whatever happens to this draft
}

__device__ __forceinline__ void step_judge(StepState* s) {
  if (!s->run_draft) return;
  if (s->threshold >= 0.0f) s->confidence = sigmoid(s->confidence_logit);
  s->run_second = s->threshold <= 0.0f || s->confidence >= s->threshold;
}

__device__ __forceinline__ void step_commit(StepState* s) {
  StepRecord& record = s->ring[s->step % kRing];
  if (s->active) {
    const bool kept = s->run_second != 0;
    if (!kept) s->second = kNone;
    if (kept && s->seen != nullptr) s->seen[s->second] |= kSeenProduced;
    s->tokens += kept ? 2 : 1;
    s->pending[0] = s->first;
    s->pending[1] = kept ? s->second : s->pad;
    const bool stops = is_stop_id(*s, s->first) || (kept && is_stop_id(*s, s->second));
    if (stops || s->tokens >= s->max_new_tokens || s->position >= s->max_positions || *s->cancel != 0) s->active = 0;
    s->run_backbone = s->active;
    record.second = s->second;
    record.confidence = s->confidence;
    record.second_logprob = kept ? s->second_logprob : NAN;
    record.drafted = s->drafted;
    record.executed = s->run_backbone;
    record.row_written = s->run_draft || s->run_row;
    record.begin_ns = s->begin_ns;
    record.previous_end_ns = s->end_ns;
  }
  __threadfence_system();
  record.number = s->step + 1;
  ++s->step;
}

__device__ __forceinline__ void step_advance(StepState* s) {
  if (s->run_backbone) ++s->position;
  s->end_ns = device_nanoseconds();
}

/// Decisions that the last thread of another kernel can take, so that they need no launch of their own.
enum class StepDecision : int { kNone, kChoose, kCommit };

__device__ __forceinline__ void decide(StepDecision decision, StepState* s) {
  switch (decision) {
    case StepDecision::kNone: break;
    case StepDecision::kChoose: step_choose(s); break;
    case StepDecision::kCommit: step_commit(s); break;
  }
}

static __global__ void step_begin_kernel(StepState* s) {
  wait_for_previous();
  step_begin(s);
}
static __global__ void step_judge_kernel(StepState* s) {
  wait_for_previous();
  step_judge(s);
}
static __global__ void step_commit_kernel(StepState* s) {
  wait_for_previous();
  step_commit(s);
}
static __global__ void step_advance_kernel(StepState* s) {
  wait_for_previous();
  step_advance(s);
}

}  // namespace pipo::cuda
