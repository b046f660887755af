#include <algorithm>
#include <limits>
#include <new>

#include "decode/decode_context.h"
#include "engine/check_request.h"
#include "engine/session_core.h"
#include "pipo/error.h"

namespace pipo {
namespace {

std::vector<ScoredId> best_of(std::span<const float> logits, std::int32_t count) {
  std::vector<ScoredId> scored(logits.size());
  for (std::size_t id = 0; id < logits.size(); ++id) scored[id] = {static_cast<std::int32_t>(id), logits[id]};
  const auto kept = std::min(scored.size(), static_cast<std::size_t>(std::max(count, 0)));
  std::partial_sort(scored.begin(), scored.begin() + static_cast<std::ptrdiff_t>(kept), scored.end(),
                    [](const ScoredId& a, const ScoredId& b) { return a.logit > b.logit; });
  scored.resize(kept);
  return scored;
}

/// Reads teacher-forced views out of a model that has just extended a timeline.
class Inspector {
 public:
  Inspector(Model& model, Timeline& timeline, std::int32_t top, bool with_hidden, bool with_logits)
      : model_(model), timeline_(timeline), top_(top), with_hidden_(with_hidden), with_logits_(with_logits) {}

  InspectedPosition first(std::int32_t index, std::int32_t row) {
    InspectedPosition position;
    position.index = index;
    position.confidence = position.pre_gate = std::numeric_limits<float>::quiet_NaN();
    const float* hidden = model_.hidden_row(timeline_, row);
    position.first = best(hidden);
    if (with_logits_) position.logits.assign(real_logits().begin(), real_logits().end());
    if (with_hidden_) position.hidden = copy(hidden);
    return position;
  }

  void pre_gate(InspectedPosition& position, std::int32_t row) {
    if (model_.has_pre_gate()) check(model_.pre_gate(timeline_, model_.hidden_row(timeline_, row), &position.pre_gate));
  }

  void second(InspectedPosition& position, std::int32_t row, std::int32_t draft_row) {
    const float* draft = model_.draft_row(timeline_, draft_row);
    position.second = best(draft);
    check(model_.confidence(timeline_, model_.hidden_row(timeline_, row), draft, &position.confidence));
    if (with_hidden_) position.draft_hidden = copy(draft);
  }

 private:
  std::vector<ScoredId> best(const float* hidden) {
    check(model_.compute_logits(timeline_, hidden));
    return best_of(real_logits(), top_);
  }
  std::span<float> real_logits() {
    return model_.logits().first(static_cast<std::size_t>(model_.config().real_vocab_size));
  }
  std::vector<float> copy(const float* vector) {
    std::vector<float> out(static_cast<std::size_t>(model_.config().hidden_size));
    check(model_.read(timeline_, vector, out));
    return out;
  }
  void check(Status status) const { require_ok(status, model_); }

  Model& model_;
  Timeline& timeline_;
  std::int32_t top_;
  bool with_hidden_;
  bool with_logits_;
};

}  // namespace

/// One request at a time; released on every way out.
class SessionCore::Busy {
 public:
  explicit Busy(SessionCore& session) : session_(session) {
    if (session.engine_->closed()) throw Error(ErrorCode::kClosed, "the engine is closed; load the model again");
    if (session.busy_.exchange(true)) {
      throw Error(ErrorCode::kBusy,
                  "the session runs another request; wait for it, cancel it, or open another session");
    }
    session.cancelled_ = false;
  }
  ~Busy() { session_.busy_ = false; }
  Busy(const Busy&) = delete;
  Busy& operator=(const Busy&) = delete;

 private:
  SessionCore& session_;
};

SessionCore::SessionCore(std::shared_ptr<EngineCore> engine, std::int32_t max_positions)
    : engine_(std::move(engine)), timeline_(engine_->model().make_states(), max_positions) {}

GenerateResult SessionCore::generate(const GenerateRequest& request, const StepFn& on_step) {
  const Stopwatch clock;
  const Busy busy(*this);
  const ModelConfig& config = engine_->config();
  check_request(request, config);
  const std::vector<std::int32_t> slots = slots_of(request.prompt_ids, request.mode);
  check_length(slots.size(), request.mode, timeline_.max_positions());
  const std::int32_t banned = request.mode == DecodeMode::kPair ? config.pipo->pad_token_id : kNoToken;
  Sampler sampler(request.sampling, {config.real_vocab_size, banned, request.stop_ids, request.min_new_tokens},
                  request.allowed_ids, request.prompt_ids, request.logprobs);
  if (sampler.nothing_allowed()) throw Error(ErrorCode::kBadRequest, "allowed_ids allows no id that can be produced");

  GenerateResult result;
  result.stats.prompt_tokens = static_cast<std::int32_t>(request.prompt_ids.size());
  const StopSignal stop = stop_signal(request.cancelled);
  DecodeContext context{engine_->model(), timeline_, engine_->turns(), stop,  request,
                        sampler,          banned,    on_step,          clock, result};
  try {
    const auto stopped = prefill(context, slots);
    if (stopped) {
      result.stop_reason = *stopped;
    } else if (request.max_new_tokens == 0) {
      result.stop_reason = StopReason::kMaxNewTokens;
    } else {
      result.stop_reason = decode(context);
    }
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::kNotEnoughMemory, "no memory for a prompt of " + std::to_string(slots.size()) +
                                                 " ids; close other programs or shorten it");
  }
  result.stats.total_ms = clock.ms();
  return result;
}

void SessionCore::cancel() {
  cancelled_ = true;
  engine_->turns().wake();
}

std::vector<InspectedPosition> SessionCore::inspect(std::span<const std::int32_t> ids, DecodeMode mode,
                                                    std::int32_t top, bool with_hidden, bool with_logits) {
  const Busy busy(*this);
  check_ids(ids, mode, engine_->config());
  const std::vector<std::int32_t> slots = slots_of(ids, mode);
  check_length(slots.size(), mode, timeline_.max_positions());
  timeline_.reset(mode);
  const std::int32_t per_position = timeline_.slots_per_position();
  const auto n_positions = static_cast<std::int32_t>(slots.size()) / per_position;
  timeline_.reserve(n_positions);

  Model& model = engine_->model();
  Inspector inspector(model, timeline_, top, with_hidden, with_logits);
  const StopSignal stop = stop_signal();
  std::vector<InspectedPosition> positions;
  while (timeline_.positions() < n_positions) {
    const Turn turn(engine_->turns(), [&stop] { return stop.requested(); });
    const std::int32_t begin = timeline_.positions();
    const std::int32_t rows = std::min(model.max_rows(), n_positions - begin);
    const auto chunk = std::span(slots).subspan(static_cast<std::size_t>(begin) * per_position,
                                                static_cast<std::size_t>(rows) * per_position);
    const RunResult run = turn ? model.extend_with_drafts(timeline_, chunk, &stop) : RunResult{Status::kOk, true};
    require_ok(run.status, model);
    if (run.stopped) throw Error(ErrorCode::kCancelled, "inspection cancelled");
    for (std::int32_t row = 0; row < rows; ++row) positions.push_back(inspector.first(begin + row, row));
    if (mode == DecodeMode::kPlain) continue;
    for (std::int32_t row = 0; row < rows; ++row) {
      inspector.pre_gate(positions[static_cast<std::size_t>(begin + row)], row);
    }
    // Drafts lag by one position: the chunk's first slot completes the position before it.
    const std::int32_t first_draft = std::max(begin - 1, 0);
    for (std::int32_t at = first_draft; at < begin + rows - 1; ++at) {
      inspector.second(positions[static_cast<std::size_t>(at)], at - begin, at - first_draft);
    }
  }
  return positions;
}

void SessionCore::reset() {
  const Busy busy(*this);
  timeline_.reset(timeline_.mode());
}

/// The slot stream of a prompt: in pair mode an odd one gets a PAD at its very end.
std::vector<std::int32_t> SessionCore::slots_of(std::span<const std::int32_t> ids, DecodeMode mode) const {
  std::vector<std::int32_t> slots(ids.begin(), ids.end());
  if (mode == DecodeMode::kPair && slots.size() % 2 == 1) slots.push_back(engine_->config().pipo->pad_token_id);
  return slots;
}

}  // namespace pipo
