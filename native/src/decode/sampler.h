#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "pipo/request.h"

namespace pipo {

/// Which ids a request may produce, apart from its `allowed_ids`.
struct SamplerRange {
  std::int32_t real_vocab_size = 0;  ///< ids from here on are padding rows
  std::int32_t banned_id = -1;       ///< PAD in pair mode; -1: none
  std::span<const std::int32_t> stop_ids = {};  ///< not produced among the first `min_new_tokens`
  std::int32_t min_new_tokens = 0;
};

struct Sampled {
  std::int32_t id = 0;
  float logprob = 0.0f;  ///< NaN unless asked for
};

/// Chooses tokens of one request. In order: mask, penalties, temperature, then top-k, top-p and min-p, each judged on
/// the unfiltered distribution, and one draw from what all of them keep.
///
/// Log-probabilities are of the model's own distribution over the ids that may be produced: before penalties and
/// temperature.
class Sampler {
 public:
  /// `prompt` counts for the repetition penalty only.
  Sampler(const SamplingOptions& options, const SamplerRange& range, std::span<const std::uint8_t> allowed_ids,
          std::span<const std::int32_t> prompt, bool logprobs);

  /// Destroys `logits`. `slot` numbers the draw.
  Sampled sample(std::span<float> logits, std::uint64_t slot);
  /// Ids that have been produced; PAD must not be reported.
  void produced(std::int32_t id);

  /// True when no id may be produced at all.
  bool nothing_allowed() const;

 private:
  bool bans_stop_ids() const { return n_produced_ < range_.min_new_tokens; }
  struct Candidate {
    float logit;
    std::int32_t id;
  };
  void mask(std::span<float> logits) const;
  void penalize(std::span<float> logits) const;
  float unpenalized(std::int32_t id, float logit) const;
  float probability(float logit, float best) const;
  std::int32_t draw(std::span<const float> logits, float uniform);
  void collect_candidates(std::span<const float> logits, float best);
  std::size_t count_kept(float best);

  SamplingOptions options_;
  SamplerRange range_;
  std::span<const std::uint8_t> allowed_ids_;
  bool logprobs_;
  std::int32_t n_produced_ = 0;
  std::vector<std::uint8_t> seen_;  // per id: kInPrompt, kProduced
  std::vector<std::int32_t> seen_ids_;
  std::vector<Candidate> candidates_;
  double total_ = 0;  // of probability(), over all ids
};

}  // namespace pipo
