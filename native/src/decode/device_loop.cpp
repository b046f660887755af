#include <algorithm>
#include <new>
#include <vector>

#include "decode/decode_context.h"

namespace pipo {
namespace {

/// The loops of pairs and of single tokens where the device decides: the host keeps one step launched ahead, hands
/// finished ones on, and writes down in the timeline what the device has executed.
///
/// The device ends a request by the same rules as `finish_step`, so no step that follows the last one does any work,
/// unless the end came from outside: then the step ahead may be executed, and is in the timeline but not in the result.
class DeviceLoop {
 public:
  DeviceLoop(DecodeContext& c, DeviceSteps& steps) : c_(c), steps_(steps) {}
  ~DeviceLoop() { take_what_is_under_way(); }
  DeviceLoop(const DeviceLoop&) = delete;
  DeviceLoop& operator=(const DeviceLoop&) = delete;

  StopReason run() {
    if (const auto reason = begin()) return *reason;
    for (;;) {
      DeviceStep done;
      if (const auto reason = take_turn(done)) return *reason;
      count(done);
      record_slots(done.step);
      const auto reason = c_.finish_step(done.step);
      commit(done);  // the context is full by what was executed before this step
      if (reason) return *reason;
    }
  }

 private:
  static constexpr int kMostUnderWay = 2;

  std::optional<StopReason> begin() {
    const Turn turn(c_.turns, [this] { return c_.stop.requested(); });
    if (!turn) return c_.stop_reason();
    make_room();
    c_.require_ok(steps_.begin(c_.timeline, c_.request, c_.banned_id));
    launch();
    return std::nullopt;
  }

  /// For every step that the request may take; where memory is short, the room that there is bounds it.
  void make_room() {
    const std::int64_t wanted = std::int64_t{c_.timeline.positions()} + c_.request.max_new_tokens + 1;
    try {
      c_.timeline.reserve(static_cast<std::int32_t>(std::min<std::int64_t>(wanted, c_.timeline.max_positions())));
    } catch (const std::bad_alloc&) {
    }
  }

  void launch() {
    c_.require_ok(steps_.launch(c_.timeline));
    ++under_way_;
  }

  /// One step of this request: the next one is queued, the oldest is waited for.
  std::optional<StopReason> take_turn(DeviceStep& done) {
    const Turn turn(c_.turns, [this] { return c_.stop.requested(); });
    if (!turn) return c_.stop_reason();
    // Each step brings a token at least, so steps beyond that many are known to have nothing to do.
    while (under_way_ < kMostUnderWay && c_.result.stats.tokens + under_way_ < c_.request.max_new_tokens) launch();
    bool any = false;
    c_.require_ok(steps_.wait_first(c_.timeline, &any));
    const double first_at_ms = c_.clock.ms();
    c_.require_ok(steps_.take(c_.timeline, &any, &done));
    --under_way_;
    if (!any) return StopReason::kContextFull;  // of less room than the session's: nothing else ends it unseen
    done.step.first_at_ms = first_at_ms;
    done.step.done_at_ms = c_.clock.ms();
    return std::nullopt;
  }

  void count(const DeviceStep& done) {
    GenerateStats& stats = c_.result.stats;
    if (done.draft == DeviceStep::Draft::kSkipped) ++stats.drafts_skipped;
    if (done.draft != DeviceStep::Draft::kRan) return;
    ++(done.step.second == kNoToken ? stats.gated : stats.accepted);
  }

  /// As emitted: a step that ends the request with its first token has no second slot.
  void record_slots(const Step& step) {
    const bool ends_at_first =
        c_.result.stats.tokens + 1 >= c_.request.max_new_tokens || c_.is_stop_id(step.first);
    const std::vector<std::int32_t> slots = slots_of(step);
    const auto n = ends_at_first ? 1 : static_cast<std::ptrdiff_t>(slots.size());
    c_.result.slots.insert(c_.result.slots.end(), slots.begin(), slots.begin() + n);
  }

  void commit(const DeviceStep& done) {
    if (done.executed) {
      c_.timeline.commit(slots_of(done.step));
    } else if (done.row_written) {
      c_.timeline.set_draft_row_slot(done.step.first);
    }
  }

  std::vector<std::int32_t> slots_of(const Step& step) const {
    if (c_.request.mode == DecodeMode::kPlain) return {step.first};
    return {step.first, step.second == kNoToken ? c_.model.config().pipo->pad_token_id : step.second};
  }

  /// Whatever ended the loop, the timeline must say what the device has executed.
  void take_what_is_under_way() noexcept {
    if (under_way_ == 0) return;
    steps_.cancel(c_.timeline);
    try {
      const Turn turn(c_.turns, [] { return false; });
      for (; under_way_ > 0; --under_way_) {
        bool any = false;
        DeviceStep done;
        c_.require_ok(steps_.take(c_.timeline, &any, &done));
        if (any) commit(done);
      }
    } catch (const std::exception&) {
      c_.timeline.begin_change();  // and never ended: the next request goes back to a snapshot
    }
  }

  DecodeContext& c_;
  DeviceSteps& steps_;
  int under_way_ = 0;
};

}  // namespace

StopReason decode_on_device(DecodeContext& c, DeviceSteps& steps) { return DeviceLoop(c, steps).run(); }

}  // namespace pipo
