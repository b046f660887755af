#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <vector>

namespace pipo {

enum class DecodeMode : std::uint8_t { kPair = 0, kPlain = 1 };
enum class DraftContext : std::uint8_t { kFull = 0, kGenerated = 1, kSelf = 2 };

struct SamplingOptions {
  float temperature = 0.0f;  ///< 0: greedy
  std::int32_t top_k = 0;    ///< 0: off
  float top_p = 1.0f;        ///< 1: off
  float min_p = 0.0f;        ///< 0: off
  float presence_penalty = 0.0f;
  float repetition_penalty = 1.0f;
  std::uint64_t seed = 0;
};

/// See `GenerateRequest` in server/src/engine/addon.ts for the meaning of every field.
struct GenerateRequest {
  DecodeMode mode = DecodeMode::kPair;
  std::vector<std::int32_t> prompt_ids;
  std::int32_t max_new_tokens = 0;
  std::int32_t min_new_tokens = 0;
  float threshold = 0.5f;
  float pre_gate_threshold = 0.0f;
  SamplingOptions sampling;
  std::vector<std::int32_t> stop_ids;
  std::vector<std::uint8_t> allowed_ids;  ///< one bit per id, empty: all
  DraftContext draft_context = DraftContext::kFull;
  bool logprobs = false;
  /// Asks the request to end once it is true, also when that was before the request began; may be null.
  /// `Session::cancel` asks only a request that runs already.
  const std::atomic<bool>* cancelled = nullptr;
};

}  // namespace pipo
