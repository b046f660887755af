#include "model/cuda/cuda_steps.h"

#include <algorithm>
#include <vector>

#include "model/cuda/cuda_states.h"

namespace pipo {
namespace {

CudaStates& states_of(Timeline& timeline) { return static_cast<CudaStates&>(timeline.states()); }
PipoCudaSession* session_of(Timeline& timeline) { return states_of(timeline).session(); }

enum FirstVisible : std::int32_t { kAll = 0, kFrom = 1, kOwnRow = 2 };

void set_draft_context(const GenerateRequest& request, std::int32_t positions, PipoCudaRequest& r) {
  switch (request.draft_context) {
    case DraftContext::kGenerated:
      r.first_visible_mode = kFrom;
      r.first_visible = positions - 1;  // the row that the first step writes
      break;
    case DraftContext::kSelf:
      r.first_visible_mode = kOwnRow;
      break;
    default:
      r.first_visible_mode = kAll;
  }
}

void set_sampling(const SamplingOptions& sampling, PipoCudaRequest& r) {
  r.temperature = sampling.temperature;
  r.top_k = sampling.top_k;
  r.top_p = sampling.top_p;
  r.min_p = sampling.min_p;
  r.presence_penalty = sampling.presence_penalty;
  r.repetition_penalty = sampling.repetition_penalty;
  r.seed = sampling.seed;
}

DeviceStep from_library(const PipoCudaStep& s) {
  DeviceStep out;
  out.step = {s.first, s.second < 0 ? kNoToken : s.second, s.confidence, s.first_logprob, s.second_logprob, 0.0, 0.0,
              s.begin_ns, s.previous_end_ns};
  out.draft = s.drafted == 1   ? DeviceStep::Draft::kRan
              : s.drafted == 2 ? DeviceStep::Draft::kSkipped
                               : DeviceStep::Draft::kNone;
  out.executed = s.executed != 0;
  out.row_written = s.row_written != 0;
  return out;
}

}  // namespace

std::vector<std::int32_t> CudaSteps::possible_stop_ids(const GenerateRequest& request) const {
  std::vector<std::int32_t> ids = request.stop_ids;
  std::erase_if(ids, [this](std::int32_t id) { return id < 0 || id >= vocab_size_; });
  return ids;
}

bool CudaSteps::can_run(const GenerateRequest& request) const {
  return possible_stop_ids(request).size() <= PIPO_CUDA_MOST_STOP_IDS;
}

Status CudaSteps::begin(Timeline& timeline, const GenerateRequest& request, std::int32_t banned_id) {
  const std::vector<std::int32_t> stop_ids = possible_stop_ids(request);
  std::vector<std::uint8_t> allowed = request.allowed_ids;  // which may end with the last real id
  if (!allowed.empty()) allowed.resize(std::max(allowed.size(), static_cast<std::size_t>(vocab_size_ + 7) / 8));
  PipoCudaRequest r{};
  r.pair_mode = request.mode == DecodeMode::kPair ? 1 : 0;
  r.position = timeline.positions();
  r.max_new_tokens = request.max_new_tokens;
  r.min_new_tokens = request.min_new_tokens;
  r.max_positions = std::min(timeline.max_positions(), timeline.states().capacity());
  r.threshold = request.threshold;
  r.pre_gate_threshold = request.pre_gate_threshold;
  set_draft_context(request, timeline.positions(), r);
  set_sampling(request.sampling, r);
  r.logprobs = request.logprobs ? 1 : 0;
  r.banned_id = banned_id;
  r.allowed_ids = allowed.empty() ? nullptr : allowed.data();
  r.prompt_ids = request.prompt_ids.data();
  r.n_prompt_ids = static_cast<std::int32_t>(request.prompt_ids.size());
  r.stop_ids = stop_ids.data();
  r.n_stop_ids = static_cast<std::int32_t>(stop_ids.size());
  r.use_graph = use_graph_ ? 1 : 0;
  return calls_.run(&PipoCudaApi::request_begin, session_of(timeline), &r);
}

Status CudaSteps::launch(Timeline& timeline) { return calls_.run(&PipoCudaApi::step_launch, session_of(timeline)); }

Status CudaSteps::wait_first(Timeline& timeline, bool* any) {
  std::int32_t there = 0, first = 0;
  const Status status = calls_.run(&PipoCudaApi::step_first, session_of(timeline), &there, &first);
  *any = there != 0;
  return status;
}

Status CudaSteps::take(Timeline& timeline, bool* any, DeviceStep* out) {
  std::int32_t there = 0;
  PipoCudaStep step{};
  const Status status = calls_.run(&PipoCudaApi::step_take, session_of(timeline), &there, &step);
  *any = there != 0;
  if (*any) *out = from_library(step);
  return status;
}

void CudaSteps::cancel(Timeline& timeline) { calls_.api().request_cancel(session_of(timeline)); }

}  // namespace pipo
