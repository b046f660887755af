#include "decode/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "decode/random.h"

namespace pipo {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();
constexpr std::uint8_t kInPrompt = 1, kProduced = 2;
/// Candidates this far below the best (in units of temperature) have no measurable probability in fp32.
constexpr float kNegligible = 30.0f;

bool is_allowed(std::span<const std::uint8_t> bits, std::int32_t id) {
  return (bits[static_cast<std::size_t>(id) >> 3] >> (id & 7)) & 1;
}

/// In lanes, which compilers turn into vector code without being allowed to reorder sums.
float block_max(const float* x, std::size_t n) {
  constexpr std::size_t kLanes = 16;
  float lanes[kLanes];
  std::fill(lanes, lanes + kLanes, kNever);
  std::size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (std::size_t j = 0; j < kLanes; ++j) lanes[j] = x[i + j] > lanes[j] ? x[i + j] : lanes[j];
  }
  float best = *std::max_element(lanes, lanes + kLanes);
  for (; i < n; ++i) best = std::max(best, x[i]);
  return best;
}

/// The first of the best; 0 where nothing is a number.
std::int32_t best_id(std::span<const float> logits) {
  constexpr std::size_t kBlock = 512;
  float best = kNever;
  std::size_t best_block = 0;
  for (std::size_t block = 0; block < logits.size(); block += kBlock) {
    const float found = block_max(logits.data() + block, std::min(kBlock, logits.size() - block));
    if (found > best) {
      best = found;
      best_block = block;
    }
  }
  for (std::size_t id = best_block; id < logits.size(); ++id) {
    if (logits[id] == best) return static_cast<std::int32_t>(id);
  }
  return 0;
}

float best_of(std::span<const float> logits) { return logits[static_cast<std::size_t>(best_id(logits))]; }

float log_sum_exp(std::span<const float> logits) {
  const float best = best_of(logits);
  double sum = 0;
  for (const float v : logits) sum += std::exp(v - best);
  return best + static_cast<float>(std::log(sum));
}

}  // namespace

Sampler::Sampler(const SamplingOptions& options, const SamplerRange& range, std::span<const std::uint8_t> allowed_ids,
                 std::span<const std::int32_t> prompt, bool logprobs)
    : options_(options), range_(range), allowed_ids_(allowed_ids), logprobs_(logprobs) {
  if (options.presence_penalty != 0.0f || options.repetition_penalty != 1.0f) {
    seen_.resize(static_cast<std::size_t>(range.real_vocab_size));
    seen_ids_.reserve(prompt.size() + 256);
    for (const std::int32_t id : prompt) {
      if (id >= range.real_vocab_size || id == range.banned_id) continue;
      if (seen_[id] == 0) seen_ids_.push_back(id);
      seen_[id] |= kInPrompt;
    }
  }
  if (options.temperature > 0.0f) candidates_.reserve(static_cast<std::size_t>(range.real_vocab_size));
}

void Sampler::produced(std::int32_t id) {
  ++n_produced_;
  if (seen_.empty()) return;
  if (seen_[id] == 0) seen_ids_.push_back(id);
  seen_[id] |= kProduced;
}

bool Sampler::nothing_allowed() const {
  for (std::int32_t id = 0; id < range_.real_vocab_size; ++id) {
    if (id == range_.banned_id || (!allowed_ids_.empty() && !is_allowed(allowed_ids_, id))) continue;
    if (!bans_stop_ids() || std::ranges::find(range_.stop_ids, id) == range_.stop_ids.end()) return false;
  }
  return true;
}

Sampled Sampler::sample(std::span<float> all_logits, std::uint64_t slot) {
  const std::span<float> logits = all_logits.first(static_cast<std::size_t>(range_.real_vocab_size));
  mask(logits);
  const float normaliser = logprobs_ ? log_sum_exp(logits) : 0.0f;
  penalize(logits);
  const std::int32_t id = options_.temperature > 0.0f ? draw(logits, uniform_at(options_.seed, slot)) : best_id(logits);
  const float logprob = logprobs_ ? unpenalized(id, logits[id]) - normaliser : std::numeric_limits<float>::quiet_NaN();
  return {id, logprob};
}

void Sampler::mask(std::span<float> logits) const {
  if (range_.banned_id >= 0 && range_.banned_id < range_.real_vocab_size) logits[range_.banned_id] = kNever;
  if (bans_stop_ids()) {
    for (const std::int32_t id : range_.stop_ids) {
      if (id < range_.real_vocab_size) logits[id] = kNever;
    }
  }
  if (allowed_ids_.empty()) return;
  for (std::size_t first = 0; first < logits.size(); first += 8) {
    if (allowed_ids_[first >> 3] == 0xff) continue;
    for (std::size_t id = first; id < std::min(first + 8, logits.size()); ++id) {
      if (!is_allowed(allowed_ids_, static_cast<std::int32_t>(id))) logits[id] = kNever;
    }
  }
}

void Sampler::penalize(std::span<float> logits) const {
  for (const std::int32_t id : seen_ids_) {
    float& logit = logits[id];
    logit = logit > 0 ? logit / options_.repetition_penalty : logit * options_.repetition_penalty;
    if (seen_[id] & kProduced) logit -= options_.presence_penalty;
  }
}

/// What `penalize` made of a logit, undone.
float Sampler::unpenalized(std::int32_t id, float logit) const {
  if (seen_.empty() || seen_[id] == 0) return logit;
  if (seen_[id] & kProduced) logit += options_.presence_penalty;
  return logit > 0 ? logit * options_.repetition_penalty : logit / options_.repetition_penalty;
}

std::int32_t Sampler::draw(std::span<const float> logits, float uniform) {
  const float best = best_of(logits);
  collect_candidates(logits, best);
  if (candidates_.empty()) return best_id(logits);  // not a number anywhere: damaged weights, but never a crash
  const std::size_t kept = count_kept(best);
  double total = 0;
  for (std::size_t i = 0; i < kept; ++i) total += probability(candidates_[i].logit, best);
  double rest = uniform * total;
  for (std::size_t i = 0; i < kept; ++i) {
    rest -= probability(candidates_[i].logit, best);
    if (rest < 0) return candidates_[i].id;
  }
  return candidates_[kept - 1].id;
}

/// Relative to the best id's probability.
float Sampler::probability(float logit, float best) const { return std::exp((logit - best) / options_.temperature); }

void Sampler::collect_candidates(std::span<const float> logits, float best) {
  // min-p is a distance from the best, so it joins the cut that is made anyway.
  const float share = options_.min_p > 0.0f ? -std::log(options_.min_p) : kNegligible;
  total_ = 0;
  candidates_.clear();
  for (std::size_t id = 0; id < logits.size(); ++id) {
    const float below = (best - logits[id]) / options_.temperature;
    if (!(below <= kNegligible)) continue;
    total_ += std::exp(-below);
    if (below <= share) candidates_.push_back({logits[id], static_cast<std::int32_t>(id)});
  }
}

/// Orders the candidates that top-k and top-p keep to the front, best first, and says how many they are.
std::size_t Sampler::count_kept(float best) {
  std::size_t most = candidates_.size();
  if (options_.top_k > 0) most = std::min(most, static_cast<std::size_t>(options_.top_k));
  if (most == candidates_.size() && options_.top_p >= 1.0f) return most;
  const auto worse = [](const Candidate& a, const Candidate& b) {
    return a.logit < b.logit || (a.logit == b.logit && a.id > b.id);
  };
  // A heap gives the best ones in order without sorting all: few are needed.
  std::make_heap(candidates_.begin(), candidates_.end(), worse);
  const double enough = options_.top_p >= 1.0f ? std::numeric_limits<double>::infinity() : options_.top_p * total_;
  double mass = 0;
  std::size_t kept = 0;
  auto end = candidates_.end();
  while (kept < most && mass < enough) {
    std::pop_heap(candidates_.begin(), end, worse);
    --end;
    mass += probability(end->logit, best);
    ++kept;
  }
  std::reverse(candidates_.begin(), candidates_.end());  // popped ones lie at the back, best last
  return kept;
}

}  // namespace pipo
