#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine_bench/options.h"
#include "pipo/session.h"

namespace pipo::bench {

constexpr const char* kPlain = "plain";
constexpr const char* kAllKept = "pair, all accepted";
constexpr const char* kAllDropped = "pair, all rejected";

/// One thing that is timed: a request, and the bytes that one of its steps reads.
struct Segment {
  std::string name;
  GenerateRequest request;
  std::int64_t bytes_per_step = 0;
  std::vector<double> ms_per_step = {};    ///< decode; per position for prefill
  std::vector<double> share_of_pass = {};  ///< of the memory pass next to it
  std::vector<double> first_token_ms = {};
  double tokens_per_step = 1.0;
  /// By the device's own clock, where it runs whole steps: microseconds of each step, and from its end to the next one.
  std::vector<double> device_us = {}, idle_us = {};
};

/// Sorts a copy; 0 of nothing.
double quantile(std::vector<double> v, double q);
inline double median(const std::vector<double>& v) { return quantile(v, 0.5); }

std::string prefill_name(DecodeMode mode, int tokens);

/// Acceptance is forced by the threshold: a random model's own means nothing.
std::vector<Segment> decode_segments(const Options& o, const EngineInfo& info);
/// Prompts of each length in both modes, up to the first token.
std::vector<Segment> prefill_segments(const Options& o);

void run_decode(Session& session, Segment& segment, int steps, double bytes_per_second);
/// `on_device`: a prompt's work has been queued, not done, when the engine has gone through it; its time is then the
/// first token's.
void run_prefill(Session& session, Segment& segment, bool on_device);

/// Positions of a session for all segments of a bench.
int positions_for(const Options& o);

}  // namespace pipo::bench
