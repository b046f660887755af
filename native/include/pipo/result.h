#pragma once

#include <cstdint>
#include <vector>

namespace pipo {

/// One decode step. `second` is kNoToken when it is PAD. Not evaluated: confidence and logprobs are NaN.
struct Step {
  std::int32_t first = 0;
  std::int32_t second = 0;
  float confidence = 0.0f;
  float first_logprob = 0.0f;
  float second_logprob = 0.0f;
  double first_at_ms = 0.0;  ///< since submission
  double done_at_ms = 0.0;
  /// By the clock of a device that runs whole steps, else 0: when this step began there, and when the request's step
  /// before had ended (0 in the first).
  std::uint64_t device_begin_ns = 0;
  std::uint64_t device_previous_end_ns = 0;
};
inline constexpr std::int32_t kNoToken = -1;

enum class StopReason : std::uint8_t {
  kStopId,
  kMaxNewTokens,
  kCancelled,
  kContextFull,
  kListenerStopped,
  kEngineClosed,
};

struct GenerateStats {
  std::int32_t prompt_tokens = 0;
  std::int32_t cached_positions = 0;
  std::int32_t extend_positions = 0;
  std::int32_t steps = 0;
  std::int32_t tokens = 0;
  std::int32_t accepted = 0;
  std::int32_t gated = 0;
  std::int32_t drafts_skipped = 0;
  double ttft_ms = 0.0;
  double tpot_ms = 0.0;
  double prefill_ms = 0.0;
  double total_ms = 0.0;
};

struct GenerateResult {
  std::vector<std::int32_t> tokens;  ///< real tokens, PAD removed
  std::vector<std::int32_t> slots;   ///< as executed, PAD included
  StopReason stop_reason = StopReason::kStopId;
  GenerateStats stats;
};

struct ScoredId {
  std::int32_t id = 0;
  float logit = 0.0f;
};

/// Teacher-forced view of one pair or, in plain mode, one position.
struct InspectedPosition {
  std::int32_t index = 0;
  std::vector<ScoredId> first;
  std::vector<ScoredId> second;     ///< empty when not available
  float confidence = 0.0f;          ///< NaN when not available
  float pre_gate = 0.0f;            ///< NaN when not available
  std::vector<float> logits;        ///< of the first token [real_vocab_size], only when asked for
  std::vector<float> hidden;        ///< h [hidden_size], only when asked for
  std::vector<float> draft_hidden;  ///< m [hidden_size], only when asked for
};

}  // namespace pipo
