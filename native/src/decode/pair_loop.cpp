#include <limits>
#include <new>

#include "decode/decode_context.h"
#include "decode/gate.h"

namespace pipo {
namespace {

constexpr float kNotEvaluated = std::numeric_limits<float>::quiet_NaN();

/// Pair j of the timeline is followed by step j:
///
///     t1 = sample(W_out h_j)                         a stop id here ends everything
///     g  = pre_gate(h_j)                             where the model has one; too small: no draft, t2 = PAD
///     m  = draft(E t1, h_j);  c = confidence(h_j, m)
///     t2 = sample(W_out m) if the gate accepts, else PAD
///     h_{j+1} = backbone(compress(t1, t2))           first thing of the next step
class PairLoop {
 public:
  explicit PairLoop(DecodeContext& c)
      : c_(c),
        gate_(*gates().front()),
        pad_(c.model.config().pipo->pad_token_id),
        prompt_positions_(c.timeline.positions()) {}

  StopReason run() {
    for (;;) {
      Step step{0, kNoToken, kNotEvaluated, kNotEvaluated, kNotEvaluated};
      if (const auto reason = take_turn(step)) return *reason;
      record_slots(step);
      if (const auto reason = c_.finish_step(step)) return *reason;
      has_pending_ = true;
    }
  }

 private:
  /// The work of one step; the turn is held for no longer.
  std::optional<StopReason> take_turn(Step& step) {
    const Turn turn(c_.turns, [this] { return c_.stop.requested(); });
    if (!turn) return c_.stop_reason();
    if (has_pending_) {
      if (const auto reason = advance()) return reason;
    }
    if (c_.stop.requested()) return c_.stop_reason();
    choose_first(step);
    if (!ends_at_first(step) && gate_.proposes(c_.request.threshold) && !skips_draft()) {
      if (c_.stop.requested()) return c_.stop_reason();
      choose_second(step);
    }
    step.done_at_ms = c_.clock.ms();
    return std::nullopt;
  }

  std::optional<StopReason> advance() {
    try {
      c_.timeline.reserve(c_.timeline.positions() + 1);
    } catch (const std::bad_alloc&) {
      return StopReason::kContextFull;
    }
    c_.require_ok(c_.model.extend(c_.timeline, pending_, {}, nullptr).status);
    return std::nullopt;
  }

  void choose_first(Step& step) {
    c_.require_ok(c_.model.compute_logits(c_.timeline, c_.timeline.hidden()));
    const Sampled first = c_.sampler.sample(c_.model.logits(), slot());
    c_.sampler.produced(first.id);
    step.first = first.id;
    step.first_logprob = first.logprob;
    step.first_at_ms = c_.clock.ms();
  }

  /// The request ends with the first token: the step has no second slot.
  bool ends_at_first(const Step& step) const {
    return c_.result.stats.tokens + 1 >= c_.request.max_new_tokens || c_.is_stop_id(step.first);
  }

  /// The draft head's row of a skipped draft is no gap: the next extend completes every row that no draft has left.
  bool skips_draft() {
    const float threshold = c_.request.pre_gate_threshold;
    if (!c_.model.has_pre_gate() || threshold <= 0.0f) return false;
    float g = 0.0f;
    if (threshold < 1.0f) {
      c_.require_ok(c_.model.pre_gate(c_.timeline, c_.timeline.hidden(), &g));
      if (g >= threshold) return false;
    }
    ++c_.result.stats.drafts_skipped;
    return true;
  }

  void choose_second(Step& step) {
    Model& model = c_.model;
    Timeline& timeline = c_.timeline;
    const float threshold = c_.request.threshold;
    c_.require_ok(model.draft(timeline, step.first, first_visible()));
    if (gate_.reads_confidence(threshold)) {
      c_.require_ok(model.confidence(timeline, timeline.hidden(), model.draft_result(timeline), &step.confidence));
    }
    if (!gate_.accepts(step.confidence, threshold)) {
      ++c_.result.stats.gated;
      return;
    }
    c_.require_ok(model.compute_logits(timeline, model.draft_result(timeline)));
    const Sampled second = c_.sampler.sample(model.logits(), slot() + 1);
    c_.sampler.produced(second.id);
    step.second = second.id;
    step.second_logprob = second.logprob;
    ++c_.result.stats.accepted;
  }

  void record_slots(const Step& step) {
    pending_[0] = step.first;
    pending_[1] = step.second == kNoToken ? pad_ : step.second;
    c_.result.slots.insert(c_.result.slots.end(), pending_, pending_ + (ends_at_first(step) ? 1 : 2));
  }

  /// Index in the slot stream of the step's first token.
  std::uint64_t slot() const { return 2 * static_cast<std::uint64_t>(c_.timeline.positions()); }

  std::int32_t first_visible() const {
    switch (c_.request.draft_context) {
      case DraftContext::kGenerated:
        return prompt_positions_ - 1;  // the row that the first step wrote
      case DraftContext::kSelf:
        return c_.timeline.positions() - 1;
      default:
        return 0;
    }
  }

  DecodeContext& c_;
  const Gate& gate_;
  const std::int32_t pad_;
  const std::int32_t prompt_positions_;
  std::int32_t pending_[2] = {};  // emitted, not yet executed
  bool has_pending_ = false;
};

}  // namespace

StopReason decode_pairs(DecodeContext& c) { return PairLoop(c).run(); }

}  // namespace pipo
