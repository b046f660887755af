#pragma once

#include <algorithm>
#include <cmath>

#include "native/engine_fixture.h"

/// What a session answers against the goldens of test/golden: the fp32 path to 1e-4 relative and every greedy choice.
namespace pipo::test {

inline constexpr float kTolerance = 1e-4f;

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

inline void check_pair_case(Session& session, const Golden& golden, const std::string& at) {
  const std::vector<std::int32_t>& ids = golden.at(at + ".ids").ints;
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

inline void check_plain_case(Session& session, const Golden& golden, const std::string& at) {
  const std::vector<std::int32_t>& ids = golden.at(at + ".ids").ints;
  const auto found = session.inspect(ids, DecodeMode::kPlain, 8, true);
  CHECK(found.size() == ids.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    check_row(at + ".hidden", found[i].hidden, golden.at(at + ".hidden"), static_cast<std::int64_t>(i));
    check_top(at + ".top", found[i].first, golden.at(at + ".top_ids"), golden.at(at + ".top_logits"),
              static_cast<std::int64_t>(i));
  }
}

/// Steps until as many slots as recorded have come out.
inline GenerateResult decode(Session& session, GenerateRequest request, std::size_t n_slots) {
  request.max_new_tokens = 1000;
  std::size_t slots = 0;
  return session.generate(request, [&](const Step&) {
    slots += request.mode == DecodeMode::kPair ? 2 : 1;
    return slots < n_slots;
  });
}

inline void check_pair_decode(Session& session, const Golden& golden, const std::string& at) {
  GenerateRequest request;
  request.prompt_ids = golden.at(at + ".prompt").ints;
  request.threshold = golden.at(at + ".threshold").floats[0];
  const bool pre_gated = golden.has(at + ".pre_gate_threshold");
  if (pre_gated) request.pre_gate_threshold = golden.at(at + ".pre_gate_threshold").floats[0];
  request.stop_ids = golden.at(at + ".stop_ids").ints;
  const std::vector<float>& confidence = golden.at(at + ".confidence").floats;
  std::size_t step = 0;
  request.max_new_tokens = 1000;
  const GenerateResult result = session.generate(request, [&](const Step& s) {
    if (step < confidence.size()) {
      const float expected = confidence[step];
      CHECK_MESSAGE(expected < 0 ? std::isnan(s.confidence) : std::abs(s.confidence - expected) <= 1e-4f,
                    at + ": confidence of step " + std::to_string(step));
    }
    return ++step < confidence.size();
  });
  CHECK_MESSAGE(result.slots == golden.at(at + ".slots").ints, at + ": other slots");
  CHECK_MESSAGE(result.tokens == golden.at(at + ".tokens").ints, at + ": other tokens");
  CHECK((result.stop_reason == StopReason::kStopId) == (golden.at(at + ".stopped").ints[0] == 1));
  CHECK(result.stats.drafts_skipped == (pre_gated ? golden.at(at + ".skipped").ints[0] : 0));
  CHECK(result.stats.steps == static_cast<std::int32_t>(confidence.size()));
  CHECK(result.stats.tokens == static_cast<std::int32_t>(result.tokens.size()));
}

inline void check_plain_decode(Session& session, const Golden& golden, const std::string& at) {
  GenerateRequest request;
  request.mode = DecodeMode::kPlain;
  request.prompt_ids = golden.at(at + ".prompt").ints;
  const std::vector<std::int32_t>& tokens = golden.at(at + ".tokens").ints;
  const GenerateResult result = decode(session, request, tokens.size());
  CHECK_MESSAGE(result.tokens == tokens, at + ": other tokens");
  CHECK(result.slots == tokens);
}

template <class Check>
inline void for_each_case(const Golden& golden, const std::string& kind, const std::string& entry, Check check) {
  for (int n = 0; n < golden.count(kind, entry); ++n) check(kind + "." + std::to_string(n));
}

inline void check_goldens(Session& session, const Golden& golden) {
  for_each_case(golden, "pair", "ids", [&](const std::string& at) { check_pair_case(session, golden, at); });
  for_each_case(golden, "plain", "ids", [&](const std::string& at) { check_plain_case(session, golden, at); });
  for_each_case(golden, "decode", "prompt", [&](const std::string& at) { check_pair_decode(session, golden, at); });
  for_each_case(golden, "plain_decode", "prompt",
                [&](const std::string& at) { check_plain_decode(session, golden, at); });
}

}  // namespace pipo::test
