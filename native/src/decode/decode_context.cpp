#include "decode/decode_context.h"

#include <algorithm>
#include <string>

#include "pipo/error.h"

namespace pipo {

bool DecodeContext::is_stop_id(std::int32_t id) const {
  return std::find(request.stop_ids.begin(), request.stop_ids.end(), id) != request.stop_ids.end();
}

std::optional<StopReason> DecodeContext::finish_step(const Step& step) {
  GenerateStats& stats = result.stats;
  if (stats.steps++ == 0) stats.ttft_ms = step.first_at_ms;
  result.tokens.push_back(step.first);
  if (step.second != kNoToken) result.tokens.push_back(step.second);
  stats.tokens = static_cast<std::int32_t>(result.tokens.size());
  if (stats.tokens > 1) stats.tpot_ms = (step.done_at_ms - stats.ttft_ms) / (stats.tokens - 1);

  const bool listener_stopped = on_step && !on_step(step);
  if (is_stop_id(step.first) || (step.second != kNoToken && is_stop_id(step.second))) return StopReason::kStopId;
  if (stats.tokens >= request.max_new_tokens) return StopReason::kMaxNewTokens;
  if (listener_stopped) return StopReason::kListenerStopped;
  if (stop.requested()) return stop_reason();
  if (timeline.positions() >= timeline.max_positions()) return StopReason::kContextFull;
  return std::nullopt;
}

StopReason decode(DecodeContext& c) {
  DeviceSteps* steps = c.model.device_steps();
  if (steps != nullptr && steps->can_run(c.request)) return decode_on_device(c, *steps);
  return c.request.mode == DecodeMode::kPair ? decode_pairs(c) : decode_plain(c);
}

void require_ok(Status status, const Model& model) {
  if (status == Status::kOk) return;
  const std::string words = model.last_error();
  if (!words.empty()) throw Error(ErrorCode::kInternal, words);
  throw Error(ErrorCode::kInternal, std::string("a kernel failed (") + kernels::status_text(status) +
                                        "); restart the engine, or choose other kernels");
}

}  // namespace pipo
