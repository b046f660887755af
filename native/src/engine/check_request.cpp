#include "engine/check_request.h"

#include <cmath>
#include <string>

#include "pipo/error.h"

namespace pipo {
namespace {

void require(bool condition, const std::string& what) {
  if (!condition) throw Error(ErrorCode::kBadRequest, what);
}

void check_sampling(const SamplingOptions& s) {
  require(std::isfinite(s.temperature) && s.temperature >= 0, "temperature must be 0 (greedy) or above");
  require(s.top_k >= 0, "top_k must be 0 (off) or above");
  require(s.top_p > 0 && s.top_p <= 1, "top_p must be above 0 and at most 1 (off)");
  require(s.min_p >= 0 && s.min_p <= 1, "min_p must be between 0 (off) and 1");
  require(std::isfinite(s.presence_penalty), "presence_penalty must be a number");
  require(std::isfinite(s.repetition_penalty) && s.repetition_penalty > 0, "repetition_penalty must be above 0");
}

}  // namespace

void check_request(const GenerateRequest& request, const ModelConfig& config) {
  check_ids(request.prompt_ids, request.mode, config);
  check_sampling(request.sampling);
  require(request.max_new_tokens >= 0, "max_new_tokens must not be negative");
  require(request.min_new_tokens >= 0, "min_new_tokens must not be negative");
  require(!std::isnan(request.threshold), "threshold must be a number");
  require(!std::isnan(request.pre_gate_threshold), "pre_gate_threshold must be a number");
  require(
      request.allowed_ids.empty() || request.allowed_ids.size() * 8 >= static_cast<std::size_t>(config.real_vocab_size),
      "allowed_ids must hold a bit for each of the " + std::to_string(config.real_vocab_size) + " ids");
}

void check_ids(std::span<const std::int32_t> ids, DecodeMode mode, const ModelConfig& config) {
  if (mode == DecodeMode::kPair && !config.pipo) {
    throw Error(ErrorCode::kUnsupported, "this model has no pair tensors; use plain mode");
  }
  require(!ids.empty(), "the prompt is empty; give at least one id");
  for (std::size_t i = 0; i < ids.size(); ++i) {
    require(ids[i] >= 0 && ids[i] < config.vocab_size, "id " + std::to_string(ids[i]) + " at place " +
                                                           std::to_string(i) + " is not in the vocabulary of " +
                                                           std::to_string(config.vocab_size));
  }
}

void check_length(std::size_t n_slots, DecodeMode mode, std::int32_t max_positions) {
  const std::size_t positions = mode == DecodeMode::kPair ? n_slots / 2 : n_slots;
  require(positions <= static_cast<std::size_t>(max_positions),
          "the prompt takes " + std::to_string(positions) + " positions, the session holds " +
              std::to_string(max_positions) + "; shorten it or open a longer session");
}

}  // namespace pipo
