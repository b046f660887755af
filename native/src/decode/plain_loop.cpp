#include <limits>
#include <new>

#include "decode/decode_context.h"

namespace pipo {
namespace {

/// One token per step: t = sample(W_out h), h = backbone(E t).
class PlainLoop {
 public:
  explicit PlainLoop(DecodeContext& c) : c_(c) {}

  StopReason run() {
    constexpr float kNotEvaluated = std::numeric_limits<float>::quiet_NaN();
    for (;;) {
      Step step{0, kNoToken, kNotEvaluated, kNotEvaluated, kNotEvaluated};
      if (const auto reason = take_turn(step)) return *reason;
      c_.result.slots.push_back(step.first);
      if (const auto reason = c_.finish_step(step)) return *reason;
      pending_ = step.first;
    }
  }

 private:
  std::optional<StopReason> take_turn(Step& step) {
    const Turn turn(c_.turns, [this] { return c_.stop.requested(); });
    if (!turn) return c_.stop_reason();
    if (pending_ != kNoToken) {
      if (const auto reason = advance()) return reason;
    }
    if (c_.stop.requested()) return c_.stop_reason();
    c_.require_ok(c_.model.compute_logits(c_.timeline, c_.timeline.hidden()));
    const auto slot = static_cast<std::uint64_t>(c_.timeline.positions());
    const Sampled first = c_.sampler.sample(c_.model.logits(), slot);
    c_.sampler.produced(first.id);
    step.first = first.id;
    step.first_logprob = first.logprob;
    step.first_at_ms = step.done_at_ms = c_.clock.ms();
    return std::nullopt;
  }

  std::optional<StopReason> advance() {
    try {
      c_.timeline.reserve(c_.timeline.positions() + 1);
    } catch (const std::bad_alloc&) {
      return StopReason::kContextFull;
    }
    c_.require_ok(c_.model.extend(c_.timeline, {&pending_, 1}, {}, nullptr).status);
    return std::nullopt;
  }

  DecodeContext& c_;
  std::int32_t pending_ = kNoToken;  // emitted, not yet executed
};

}  // namespace

StopReason decode_plain(DecodeContext& c) { return PlainLoop(c).run(); }

}  // namespace pipo
