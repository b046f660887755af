#include "engine_bench/segments.h"

#include <algorithm>

namespace pipo::bench {
namespace {

std::vector<std::int32_t> prompt_of(int count, int seed) {
  std::vector<std::int32_t> ids;
  for (int i = 0; i < count; ++i) ids.push_back(2 + (i * 7919 + seed * 104729) % 8000);
  return ids;
}

/// Adds what the device's clock says of the step `before` and of the gap to `now`.
void record_device_times(const Step& before, const Step& now, Segment& segment) {
  if (now.device_previous_end_ns == 0) return;
  const auto us = [](std::uint64_t from, std::uint64_t to) { return (static_cast<double>(to) - from) * 1e-3; };
  segment.device_us.push_back(us(before.device_begin_ns, now.device_previous_end_ns));
  segment.idle_us.push_back(us(now.device_previous_end_ns, now.device_begin_ns));
}

}  // namespace

double quantile(std::vector<double> v, double q) {
  std::sort(v.begin(), v.end());
  return v.empty() ? 0.0 : v[std::min(v.size() - 1, static_cast<std::size_t>(q * static_cast<double>(v.size())))];
}

std::string prefill_name(DecodeMode mode, int tokens) {
  return std::string(mode == DecodeMode::kPlain ? "prefill plain " : "prefill pair ") + std::to_string(tokens);
}

std::vector<Segment> decode_segments(const Options& o, const EngineInfo& info) {
  const std::int64_t plain = info.backbone_bytes_per_step + info.head_bytes;
  const auto make = [&](const char* name, DecodeMode mode, float threshold, std::int64_t bytes) {
    Segment s{name, {}, bytes};
    s.request.mode = mode;
    s.request.threshold = threshold;
    s.request.prompt_ids = prompt_of(o.context, 1);
    s.request.max_new_tokens = 1 << 20;
    return s;
  };
  constexpr float kNoGate = -1.0f, kRejectAll = 0.9999999f, kNoDraft = 1.0f;
  return {make(kPlain, DecodeMode::kPlain, kNoGate, plain),
          make(kAllKept, DecodeMode::kPair, 0.0f, plain + info.draft_bytes_per_step + info.head_bytes),
          make(kAllDropped, DecodeMode::kPair, kRejectAll, plain + info.draft_bytes_per_step),
          make("pair, no drafts", DecodeMode::kPair, kNoDraft, plain)};
}

std::vector<Segment> prefill_segments(const Options& o) {
  std::vector<Segment> segments;
  for (const int tokens : o.prompts) {
    for (const DecodeMode mode : {DecodeMode::kPlain, DecodeMode::kPair}) {
      Segment s{prefill_name(mode, tokens), {}};
      s.request.mode = mode;
      s.request.prompt_ids = prompt_of(tokens, 3);
      s.request.max_new_tokens = 1;
      segments.push_back(s);
    }
  }
  return segments;
}

void run_decode(Session& session, Segment& segment, int steps, double bytes_per_second) {
  int done = 0;
  double begin_ms = 0, end_ms = 0;
  Step before;
  session.reset();
  const GenerateResult result = session.generate(segment.request, [&](const Step& step) {
    if (++done == 2) begin_ms = step.done_at_ms;  // the first steps warm up
    if (done > 2) record_device_times(before, step, segment);
    before = step;
    end_ms = step.done_at_ms;
    return done < steps + 2;
  });
  const double ms = (end_ms - begin_ms) / steps;
  segment.ms_per_step.push_back(ms);
  segment.share_of_pass.push_back(static_cast<double>(segment.bytes_per_step) / (ms * 1e-3) / bytes_per_second);
  segment.tokens_per_step = static_cast<double>(result.stats.tokens) / result.stats.steps;
}

void run_prefill(Session& session, Segment& segment, bool on_device) {
  session.reset();
  const GenerateStats stats = session.generate(segment.request).stats;
  segment.ms_per_step.push_back((on_device ? stats.ttft_ms : stats.prefill_ms) / stats.extend_positions);
  segment.first_token_ms.push_back(stats.ttft_ms);
}

int positions_for(const Options& o) {
  int most = o.context + o.steps + 8;
  for (const int tokens : o.prompts) most = std::max(most, tokens + 8);
  return most;
}

}  // namespace pipo::bench
