#pragma once

#include <algorithm>
#include <cmath>

#include "native/engine_fixture.h"

/// What a session answers against the goldens of test/golden: the fp32 path to 1e-4 relative and every greedy choice.
namespace pipo::test {

inline constexpr float kTolerance = 1e-4f;

/// How much of each golden is checked, where running all of it would take too long. What comes first does not depend on
/// what comes after.
struct GoldenShare {
  std::size_t positions = 1000;  ///< of teacher-forced cases
  std::size_t steps = 1000;      ///< of decodes
  int cases = 1000;              ///< of each kind
  bool plain_decodes = true;     ///< whose prompts take twice the positions
};

inline std::vector<std::int32_t> first_of(const std::vector<std::int32_t>& all, std::size_t most) {
  return {all.begin(), all.begin() + static_cast<std::ptrdiff_t>(std::min(most, all.size()))};
}

/// Largest difference over the largest magnitude of a row.
inline float relative_error(const float* found, const float* expected, std::int64_t n) {
  float worst = 0, scale = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    worst = std::max(worst, std::abs(found[i] - expected[i]));
    scale = std::max(scale, std::abs(expected[i]));
  }
  return worst / scale;
}

inline void check_row(const std::string& what, const std::vector<float>& found, const GoldenTensor& expected,
               std::int64_t row) {
  CHECK(static_cast<std::int64_t>(found.size()) == expected.width());
  if (static_cast<std::int64_t>(found.size()) != expected.width()) return;
  const float error = relative_error(found.data(), expected.row(row), expected.width());
  CHECK_MESSAGE(error <= kTolerance,
                what + " row " + std::to_string(row) + ": relative error " + std::to_string(error));
}

inline void check_top(const std::string& what, const std::vector<ScoredId>& found, const GoldenTensor& ids,
               const GoldenTensor& logits, std::int64_t row) {
  CHECK(static_cast<std::int64_t>(found.size()) == ids.width());
  float scale = 0;
  for (std::int64_t i = 0; i < ids.width(); ++i) scale = std::max(scale, std::abs(logits.row(row)[i]));
  for (std::int64_t i = 0; i < ids.width() && i < static_cast<std::int64_t>(found.size()); ++i) {
    CHECK_MESSAGE(found[i].id == ids.int_row(row)[i], what + " row " + std::to_string(row) + ": another id");
    CHECK_MESSAGE(std::abs(found[i].logit - logits.row(row)[i]) <= kTolerance * scale,
                  what + " row " + std::to_string(row) + ": logit " + std::to_string(found[i].logit) + " is not " +
                      std::to_string(logits.row(row)[i]));
  }
}

inline void check_pair_case(Session& session, const Golden& golden, const std::string& at, const GoldenShare& share) {
  const std::vector<std::int32_t> ids = first_of(golden.at(at + ".ids").ints, 2 * share.positions);
  const auto found = session.inspect(ids, DecodeMode::kPair, 8, true);
  CHECK(found.size() == ids.size() / 2);
  for (std::size_t j = 0; j < found.size(); ++j) {
    const auto row = static_cast<std::int64_t>(j);
    check_row(at + ".hidden", found[j].hidden, golden.at(at + ".hidden"), row);
    if (golden.has(at + ".pre_gate")) {
      CHECK(std::abs(found[j].pre_gate - golden.at(at + ".pre_gate").floats[j]) <= kTolerance);
    } else {
      CHECK(std::isnan(found[j].pre_gate));
    }
    check_top(at + ".first", found[j].first, golden.at(at + ".first_ids"), golden.at(at + ".first_logits"), row);
    if (j + 1 == found.size()) {
      CHECK(found[j].second.empty() && std::isnan(found[j].confidence));
      continue;
    }
    check_row(at + ".draft_hidden", found[j].draft_hidden, golden.at(at + ".draft_hidden"), row);
    check_top(at + ".second", found[j].second, golden.at(at + ".second_ids"), golden.at(at + ".second_logits"), row);
    const float expected = golden.at(at + ".confidence").floats[j];
    CHECK(std::abs(found[j].confidence - expected) <= kTolerance * expected);
  }
}

inline void check_plain_case(Session& session, const Golden& golden, const std::string& at, const GoldenShare& share) {
  const std::vector<std::int32_t> ids = first_of(golden.at(at + ".ids").ints, share.positions);
  const auto found = session.inspect(ids, DecodeMode::kPlain, 8, true);
  CHECK(found.size() == ids.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    check_row(at + ".hidden", found[i].hidden, golden.at(at + ".hidden"), static_cast<std::int64_t>(i));
    check_top(at + ".top", found[i].first, golden.at(at + ".top_ids"), golden.at(at + ".top_logits"),
              static_cast<std::int64_t>(i));
  }
}

inline void check_pair_decode(Session& session, const Golden& golden, const std::string& at, const GoldenShare& share) {
  GenerateRequest request;
  request.prompt_ids = golden.at(at + ".prompt").ints;
  request.threshold = golden.at(at + ".threshold").floats[0];
  const bool pre_gated = golden.has(at + ".pre_gate_threshold");
  if (pre_gated) request.pre_gate_threshold = golden.at(at + ".pre_gate_threshold").floats[0];
  request.stop_ids = golden.at(at + ".stop_ids").ints;
  request.max_new_tokens = 400;
  const std::vector<float>& confidence = golden.at(at + ".confidence").floats;
  const std::size_t n_steps = std::min(confidence.size(), share.steps);
  std::size_t step = 0;
  const GenerateResult result = session.generate(request, [&](const Step& s) {
    if (step < n_steps) {
      const float expected = confidence[step];
      CHECK_MESSAGE(expected < 0 ? std::isnan(s.confidence) : std::abs(s.confidence - expected) <= 1e-4f,
                    at + ": confidence of step " + std::to_string(step));
    }
    return ++step < n_steps;
  });
  CHECK(result.stats.steps == static_cast<std::int32_t>(n_steps));
  CHECK(result.stats.tokens == static_cast<std::int32_t>(result.tokens.size()));
  const std::vector<std::int32_t>& slots = golden.at(at + ".slots").ints;
  const std::vector<std::int32_t>& tokens = golden.at(at + ".tokens").ints;
  CHECK_MESSAGE(result.slots == first_of(slots, result.slots.size()), at + ": other slots");
  CHECK_MESSAGE(result.tokens == first_of(tokens, result.tokens.size()), at + ": other tokens");
  if (n_steps < confidence.size()) return;
  CHECK(result.slots.size() == slots.size() && result.tokens.size() == tokens.size());
  CHECK((result.stop_reason == StopReason::kStopId) == (golden.at(at + ".stopped").ints[0] == 1));
  CHECK(result.stats.drafts_skipped == (pre_gated ? golden.at(at + ".skipped").ints[0] : 0));
}

inline void check_plain_decode(Session& session, const Golden& golden, const std::string& at,
                               const GoldenShare& share) {
  GenerateRequest request;
  request.mode = DecodeMode::kPlain;
  request.prompt_ids = golden.at(at + ".prompt").ints;
  const std::vector<std::int32_t> tokens = first_of(golden.at(at + ".tokens").ints, share.steps);
  request.max_new_tokens = static_cast<std::int32_t>(tokens.size());
  const GenerateResult result = session.generate(request);
  CHECK_MESSAGE(result.tokens == tokens, at + ": other tokens");
  CHECK(result.slots == tokens);
}

template <class Check>
void for_each_case(const Golden& golden, const std::string& kind, const std::string& entry, int most, Check check) {
  for (int n = 0; n < std::min(most, golden.count(kind, entry)); ++n) check(kind + "." + std::to_string(n));
}

inline void check_goldens(Session& session, const Golden& golden, const GoldenShare& share = {}) {
  const auto each = [&](const std::string& kind, const std::string& entry, auto check) {
    for_each_case(golden, kind, entry, share.cases,
                  [&](const std::string& at) { check(session, golden, at, share); });
  };
  each("pair", "ids", check_pair_case);
  each("plain", "ids", check_plain_case);
  each("decode", "prompt", check_pair_decode);
  if (share.plain_decodes) each("plain_decode", "prompt", check_plain_decode);
}

}  // namespace pipo::test
