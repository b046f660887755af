/// The pre-gate: which drafts it spares, and that sparing one changes nothing else.
#include <cmath>

#include "native/engine_fixture.h"

using namespace pipo;
using test::greedy;
using test::joined;

namespace {

const char* const kModel = "tiny-pregate";

struct Run {
  GenerateResult result;
  std::vector<Step> steps;
};

Run run(Session& session, const GenerateRequest& request) {
  Run r;
  r.result = session.generate(request, [&](const Step& step) {
    r.steps.push_back(step);
    return true;
  });
  return r;
}

Run fresh(Engine& engine, const GenerateRequest& request) { return run(*engine.create_session(1024), request); }

GenerateRequest pre_gated(std::vector<std::int32_t> prompt, float pre_gate_threshold, float threshold) {
  GenerateRequest request = greedy(std::move(prompt), 80, threshold);
  request.pre_gate_threshold = pre_gate_threshold;
  return request;
}

/// The same checkpoint without its pre-gate.
std::shared_ptr<Engine> load_without_pre_gate() {
  ModelDescription model = test::read_description(test::golden_directory(kModel));
  std::erase_if(model.tensors, [](const TensorSource& t) { return t.name.starts_with("pre_gate."); });
  model.config.pipo->pre_gate = false;
  return Engine::load(model, test::load_options());
}

void check_identical(const Run& a, const Run& b) {
  CHECK(a.result.slots == b.result.slots);
  CHECK(a.result.stats.drafts_skipped == b.result.stats.drafts_skipped);
  CHECK(a.steps.size() == b.steps.size());
  for (std::size_t i = 0; i < a.steps.size(); ++i) {
    const float x = a.steps[i].confidence, y = b.steps[i].confidence;
    CHECK(x == y || (std::isnan(x) && std::isnan(y)));
  }
}

/// The best token that may be produced; kNoToken when it is not clearly the best.
std::int32_t clear_choice(const std::vector<ScoredId>& best, std::int32_t pad) {
  const std::size_t at = best[0].id == pad ? 1 : 0;
  const std::size_t next = best[at + 1].id == pad ? at + 2 : at + 1;
  return best[at].logit - best[next].logit > 1e-3f ? best[at].id : kNoToken;
}

/// Compares every step with its definition over a teacher-forced pass, in which every row of the draft head is there.
/// Returns how many steps were clear enough to compare.
int check_against_definition(Session& inspecting, const Run& run, const GenerateRequest& request, std::int32_t pad) {
  const auto positions = inspecting.inspect(joined(request.prompt_ids, run.result.slots), DecodeMode::kPair, 4);
  const std::size_t before = (request.prompt_ids.size() + 1) / 2;
  int compared = 0, skipped = 0;
  for (std::size_t i = 0; i + 1 < run.steps.size(); ++i) {
    const InspectedPosition& position = positions[before - 1 + i];
    const Step& step = run.steps[i];
    const bool skips = position.pre_gate < request.pre_gate_threshold;
    const bool rejects = position.confidence < request.threshold;
    skipped += skips ? 1 : 0;
    CHECK(std::isnan(step.confidence) == skips);
    if (!skips) CHECK(std::abs(step.confidence - position.confidence) < 1e-4f);
    const std::int32_t choice = clear_choice(position.second, pad);
    if (skips || rejects) {
      CHECK(step.second == kNoToken);
    } else if (choice != kNoToken) {
      CHECK(step.second == choice);
      ++compared;
    }
  }
  CHECK(run.result.stats.drafts_skipped == skipped);
  return compared;
}

}  // namespace

TEST("a pre-gate that is off or absent changes nothing") {
  const auto with = test::load_golden(kModel), without = load_without_pre_gate();
  for (const std::size_t length : {64u, 47u}) {
    const auto prompt = test::random_ids(with->config(), length, 1);
    for (const float threshold : {-1.0f, 0.0f, 0.5f, 1.0f}) {
      const Run expected = fresh(*without, greedy(prompt, 80, threshold));
      check_identical(fresh(*with, pre_gated(prompt, 0.0f, threshold)), expected);
      check_identical(fresh(*with, pre_gated(prompt, -1.0f, threshold)), expected);
      check_identical(fresh(*without, pre_gated(prompt, 0.9f, threshold)), expected);
    }
  }
}

TEST("drafts below the pre-gate are skipped, all others are what they would be after drafts") {
  const auto engine = test::load_golden(kModel);
  const auto inspecting = engine->create_session(1024);
  const std::int32_t pad = engine->config().pipo->pad_token_id;
  int compared = 0;
  for (std::uint32_t seed = 0; seed < 12; ++seed) {
    // Even, so that the slots of the steps stand in pairs after the prompt.
    const auto prompt = test::random_ids(engine->config(), 40, 100 + seed);
    for (const float pre_gate : {0.3f, 0.5f, 0.7f}) {
      const GenerateRequest request = pre_gated(prompt, pre_gate, seed % 2 == 0 ? 0.0f : 0.4f);
      const Run decoded = fresh(*engine, request);
      CHECK(decoded.result.stats.drafts_skipped > 0 && decoded.result.stats.accepted > 0);
      compared += check_against_definition(*inspecting, decoded, request, pad);
    }
  }
  CHECK(compared > 300);
}

TEST("a pre-gate of 1 gives the tokens of a gate of 1") {
  const auto engine = test::load_golden(kModel);
  const auto prompt = test::random_ids(engine->config(), 47, 3);
  const Run undrafted = fresh(*engine, greedy(prompt, 80, 1.0f));
  for (const float pre_gate : {1.0f, 2.0f}) {
    const Run skipped = fresh(*engine, pre_gated(prompt, pre_gate, 0.0f));
    CHECK(skipped.result.slots == undrafted.result.slots);
    // The request ends with the first token of its last step, before any draft.
    CHECK(skipped.result.stats.drafts_skipped == skipped.result.stats.steps - 1);
  }
  CHECK(undrafted.result.stats.drafts_skipped == 0);
}

TEST("a higher pre-gate skips more, and every step has one of three outcomes") {
  const auto engine = test::load_golden(kModel);
  const auto prompt = test::random_ids(engine->config(), 64, 4);
  std::int32_t before = 0;
  for (const float pre_gate : {0.0f, 0.2f, 0.5f, 0.8f, 1.0f}) {
    GenerateRequest request = pre_gated(prompt, pre_gate, 0.5f);
    request.max_new_tokens = 1000;
    std::int32_t steps = 0;
    const GenerateStats stats =
        engine->create_session(1024)->generate(request, [&](const Step&) { return ++steps < 60; }).stats;
    CHECK(stats.accepted + stats.gated + stats.drafts_skipped == stats.steps);
    CHECK(stats.drafts_skipped >= before);
    before = stats.drafts_skipped;
  }
  CHECK(before == 60);
}

TEST("a session goes on after skipped drafts as a fresh one") {
  const auto engine = test::load_golden(kModel);
  const auto session = engine->create_session(1024);
  auto prompt = test::random_ids(engine->config(), 40, 5);
  for (const float pre_gate : {0.5f, 1.0f, 0.0f, 0.6f}) {
    const GenerateRequest request = pre_gated(prompt, pre_gate, 0.3f);
    const Run here = run(*session, request);
    CHECK(here.result.slots == fresh(*engine, request).result.slots);
    prompt = joined(prompt, here.result.slots);
    prompt.resize(prompt.size() / 2 * 2);
    prompt = joined(prompt, test::random_ids(engine->config(), 6, 6));
  }
}

TEST("sampling draws the same tokens beside skipped drafts") {
  const auto engine = test::load_golden(kModel);
  GenerateRequest request = pre_gated(test::random_ids(engine->config(), 40, 7), 1.0f, 0.0f);
  request.sampling.temperature = 0.9f;
  request.sampling.seed = 11;
  const Run skipped = fresh(*engine, request);
  request.pre_gate_threshold = 0.0f;
  request.threshold = 1.0f;
  CHECK(skipped.result.slots == fresh(*engine, request).result.slots);
}

int main(int argc, char** argv) { return pipo::test::run(argc, argv); }
