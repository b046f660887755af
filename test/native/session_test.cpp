/// A session's timeline: what it has executed is not computed again, and going on is the same as starting afresh.
#include <algorithm>
#include <cmath>
#include <random>

#include "native/engine_fixture.h"

using namespace pipo;
using test::greedy;
using test::joined;

namespace {

GenerateResult fresh(Engine& engine, const GenerateRequest& request) {
  return engine.create_session(1024)->generate(request);
}

void check_same(const GenerateResult& a, const GenerateResult& b, const std::string& what) {
  CHECK_MESSAGE(a.slots == b.slots, what + ": other slots than a fresh session");
  CHECK_MESSAGE(a.stop_reason == b.stop_reason, what + ": another stop reason");
}

}  // namespace

TEST("a longer prompt extends what the session has executed") {
  const auto engine = test::load_golden("tiny-4b");
  const auto session = engine->create_session(1024);
  const auto prompt = test::random_ids(engine->config(), 64, 1);
  const GenerateResult first = session->generate(greedy(prompt, 20));
  CHECK(first.stats.cached_positions == 0 && first.stats.extend_positions == 32);

  // The next turn: the prompt, what came out slot by slot, and some more.
  const auto longer = joined(joined(prompt, first.slots), test::random_ids(engine->config(), 20, 2));
  const GenerateResult second = session->generate(greedy(longer, 20));
  const auto total = static_cast<std::int32_t>(longer.size() + 1) / 2;
  CHECK(second.stats.cached_positions + second.stats.extend_positions == total);
  const auto last_step = 1;  // the last pair of a request is emitted, not executed
  CHECK(second.stats.cached_positions >= 32 + static_cast<std::int32_t>(first.slots.size()) / 2 - last_step);
  check_same(second, fresh(*engine, greedy(longer, 20)), "extended");
}

TEST("the same prompt again computes nothing") {
  const auto engine = test::load_golden("tiny-08b");
  for (const std::size_t length : {64u, 47u}) {
    const auto session = engine->create_session(1024);
    const auto request = greedy(test::random_ids(engine->config(), length, 3), 12);
    const GenerateResult first = session->generate(request);
    const GenerateResult again = session->generate(request);
    CHECK(again.stats.extend_positions == 0);
    check_same(again, first, "again");
  }
}

TEST("typing on recomputes a few positions, not the prompt") {
  const auto engine = test::load_golden("tiny-4b");
  const auto session = engine->create_session(1024);
  auto prompt = test::random_ids(engine->config(), 401, 4);
  session->generate(greedy(prompt, 10));
  for (const std::int32_t typed : {5, 17, 40, 3}) {
    prompt.push_back(typed);
    const GenerateResult result = session->generate(greedy(prompt, 10));
    CHECK_MESSAGE(result.stats.extend_positions <= 2, std::to_string(result.stats.extend_positions) + " recomputed");
    check_same(result, fresh(*engine, greedy(prompt, 10)), "typed");
  }
}

TEST("a dense model goes back to any position and computes one more than what differs") {
  for (const char* name : {"tiny-qwen2", "tiny-qwen3"}) {
    const auto engine = test::load_golden(name);
    const auto prompt = test::random_ids(engine->config(), 600, 8);
    for (const DecodeMode mode : {DecodeMode::kPair, DecodeMode::kPlain}) {
      const auto request_of = [mode](const std::vector<std::int32_t>& ids) {
        GenerateRequest request = greedy(ids, 12);
        request.mode = mode;
        return request;
      };
      const std::size_t each = mode == DecodeMode::kPair ? 2 : 1;
      const auto session = engine->create_session(1024);
      session->generate(request_of(prompt));
      for (const std::size_t changed : {599u, 598u, 401u, 400u, 77u, 1u, 0u}) {
        auto other = prompt;
        other[changed] = other[changed] == 1 ? 2 : 1;
        const GenerateResult result = session->generate(request_of(other));
        const auto kept = static_cast<std::int32_t>(changed / each);
        CHECK(result.stats.cached_positions == std::max(kept - 1, 0));
        check_same(result, fresh(*engine, request_of(other)), std::string(name) + " cut");
        check_same(session->generate(request_of(prompt)), fresh(*engine, request_of(prompt)), "and back");
      }
    }
  }
}

TEST("a prompt that diverges earlier goes back to a snapshot and equals a fresh session") {
  const auto engine = test::load_golden("tiny-9b");
  const auto prompt = test::random_ids(engine->config(), 1200, 6);
  for (const std::size_t changed : {1198u, 1190u, 1160u, 700u, 0u}) {
    const auto session = engine->create_session(1024);
    session->generate(greedy(prompt, 8));
    auto other = prompt;
    other[changed] = other[changed] == 1 ? 2 : 1;
    const GenerateResult result = session->generate(greedy(other, 8));
    CHECK(result.stats.cached_positions <= static_cast<std::int32_t>(changed / 2));
    if (changed >= 1160) CHECK(result.stats.extend_positions <= 32);
    if (changed == 700) CHECK(result.stats.cached_positions == 256);
    check_same(result, fresh(*engine, greedy(other, 8)), "diverged at " + std::to_string(changed));
  }
}

TEST("a shorter prompt, another mode and a reset each equal a fresh session") {
  const auto engine = test::load_golden("tiny-lora");
  const auto session = engine->create_session(1024);
  const auto prompt = test::random_ids(engine->config(), 90, 7);
  session->generate(greedy(prompt, 10));
  const std::vector<std::int32_t> shorter(prompt.begin(), prompt.begin() + 41);
  check_same(session->generate(greedy(shorter, 10)), fresh(*engine, greedy(shorter, 10)), "shorter");
  GenerateRequest plain = greedy(prompt, 10);
  plain.mode = DecodeMode::kPlain;
  check_same(session->generate(plain), fresh(*engine, plain), "plain after pairs");
  check_same(session->generate(greedy(prompt, 10)), fresh(*engine, greedy(prompt, 10)), "pairs after plain");
  session->reset();
  CHECK(session->positions() == 0);
  check_same(session->generate(greedy(prompt, 10)), fresh(*engine, greedy(prompt, 10)), "after reset");
}

TEST("thresholds may change between requests of one session") {
  const auto engine = test::load_golden("tiny-08b");
  const auto session = engine->create_session(1024);
  const auto prompt = test::random_ids(engine->config(), 40, 8);
  // Steps without a draft must leave the draft head's rows complete for later steps with one.
  const GenerateResult undrafted = session->generate(greedy(prompt, 30, 1.0f));
  CHECK(undrafted.stats.accepted == 0 && undrafted.stats.gated == 0);
  CHECK(undrafted.stats.tokens == undrafted.stats.steps);
  const auto longer = joined(joined(prompt, undrafted.slots), {3, 4, 5});
  check_same(session->generate(greedy(longer, 20, 0.4f)), fresh(*engine, greedy(longer, 20, 0.4f)), "drafted later");
}

TEST("a request is bounded by its tokens") {
  const auto engine = test::load_golden("tiny-08b");
  const auto prompt = test::random_ids(engine->config(), 31, 9);
  const GenerateResult reference = fresh(*engine, greedy(prompt, 40, 0.0f));
  CHECK(reference.stats.tokens == 40 && reference.stats.steps == 20);
  for (const std::int32_t most : {0, 1, 2, 7}) {
    const GenerateResult result = fresh(*engine, greedy(prompt, most, 0.0f));
    CHECK(result.stop_reason == StopReason::kMaxNewTokens);
    CHECK(result.stats.tokens == most && static_cast<std::int32_t>(result.tokens.size()) == most);
    CHECK(std::equal(result.tokens.begin(), result.tokens.end(), reference.tokens.begin()));
  }
}

TEST("a full context ends generation, a prompt beyond it is refused") {
  const auto engine = test::load_golden("tiny-08b");
  const auto session = engine->create_session(20);
  const GenerateResult result = session->generate(greedy(test::random_ids(engine->config(), 30, 10), 1000, 1.0f));
  CHECK(result.stop_reason == StopReason::kContextFull);
  CHECK(result.stats.steps == 6);  // positions 15 ... 19 are executed, one more step is sampled
  CHECK(session->positions() == 20);
  const auto too_long = greedy(test::random_ids(engine->config(), 41, 10), 1);
  CHECK(test::error_of([&] { session->generate(too_long); }) == ErrorCode::kBadRequest);
  // It still works afterwards.
  CHECK(session->generate(greedy(test::random_ids(engine->config(), 8, 1), 4)).stats.tokens == 4);
}

TEST("long generation grows the KV cache without a change in what comes out") {
  const auto engine = test::load_golden("tiny-4b");
  const auto prompt = test::random_ids(engine->config(), 10, 12);
  const GenerateResult once = engine->create_session(2000)->generate(greedy(prompt, 900, 0.5f));
  CHECK(once.stats.steps > 450);
  const auto session = engine->create_session(2000);
  // The same text in two requests, the second one starting at a grown cache.
  const GenerateResult half = session->generate(greedy(prompt, 500, 0.5f));
  CHECK(std::equal(half.slots.begin(), half.slots.end() - 2, once.slots.begin()));
  const GenerateResult rest =
      session->generate(greedy(joined(prompt, {once.slots.begin(), once.slots.begin() + 600}), 50));
  CHECK(std::equal(rest.slots.begin(), rest.slots.end() - 2, once.slots.begin() + 600));
}

TEST("log-probabilities are the model's own and never above zero") {
  const auto engine = test::load_golden("tiny-9b");
  GenerateRequest request = greedy(test::random_ids(engine->config(), 20, 13), 12, 0.0f);
  request.logprobs = true;
  std::vector<Step> steps;
  engine->create_session(64)->generate(request, [&](const Step& step) {
    steps.push_back(step);
    return true;
  });
  for (const Step& step : steps) CHECK(step.first_logprob <= 0.0f && step.second_logprob <= 0.0f);
  // They belong to the distribution before temperature and penalties.
  request.sampling.presence_penalty = 0.0f;
  request.sampling.temperature = 1e-6f;
  std::size_t i = 0;
  engine->create_session(64)->generate(request, [&](const Step& step) {
    CHECK(step.first == steps[i].first && std::abs(step.first_logprob - steps[i].first_logprob) < 1e-4f);
    ++i;
    return true;
  });
  CHECK(i == steps.size());
}

TEST("draft contexts change drafts only through what the draft head sees") {
  const auto engine = test::load_golden("tiny-08b");
  GenerateRequest request = greedy(test::random_ids(engine->config(), 60, 14), 24, 0.0f);
  std::vector<std::vector<std::int32_t>> seconds;
  for (const DraftContext context : {DraftContext::kFull, DraftContext::kGenerated, DraftContext::kSelf}) {
    request.draft_context = context;
    const GenerateResult result = fresh(*engine, request);
    CHECK(result.stats.accepted == 12);
    seconds.push_back(result.slots);
  }
  // The first token does not depend on the draft head at all.
  CHECK(seconds[0][0] == seconds[1][0] && seconds[0][0] == seconds[2][0]);
  CHECK(seconds[0] != seconds[2]);
}

TEST("stop ids end a request in either slot and are the last token") {
  const auto engine = test::load_golden("tiny-08b");
  const GenerateResult free_run = fresh(*engine, greedy(test::random_ids(engine->config(), 30, 15), 40, 0.0f));
  for (const std::size_t at : {6u, 7u}) {
    GenerateRequest request = greedy(test::random_ids(engine->config(), 30, 15), 40, 0.0f);
    request.stop_ids = {free_run.tokens[at]};
    const GenerateResult result = fresh(*engine, request);
    CHECK(result.stop_reason == StopReason::kStopId);
    CHECK(result.tokens.back() == free_run.tokens[at]);
    CHECK(result.tokens.size() <= at + 1);
  }
}

TEST("any sequence of requests on one session equals fresh sessions") {
  const auto engine = test::load_golden("tiny-9b");
  const auto session = engine->create_session(1024);
  std::mt19937 random(42);
  const auto below = [&](std::uint32_t n) { return random() % n; };
  std::vector<std::int32_t> prompt = test::random_ids(engine->config(), 300, 1), last_slots;
  std::int64_t computed = 0, asked = 0;
  for (int i = 0; i < 120; ++i) {
    switch (below(5)) {
      case 0:  // typing on
        prompt = joined(prompt, test::random_ids(engine->config(), 1 + below(5), random()));
        break;
      case 1:  // deleting the end
        prompt.resize(prompt.size() - std::min<std::size_t>(prompt.size() - 1, 1 + below(below(6) == 0 ? 250 : 8)));
        break;
      case 2:  // going on from what came out, in its pairs
        if (prompt.size() % 2 == 0) prompt = joined(prompt, last_slots);
        break;
      case 3:  // a change in the middle
        prompt[below(static_cast<std::uint32_t>(prompt.size()))] = static_cast<std::int32_t>(below(390));
        break;
      default:  // the same again, in another way
        break;
    }
    if (prompt.size() > 900) prompt.resize(100);
    GenerateRequest request = greedy(prompt, static_cast<std::int32_t>(below(12)), below(3) == 0 ? 1.0f : 0.4f);
    request.mode = below(8) == 0 ? DecodeMode::kPlain : DecodeMode::kPair;
    request.draft_context = static_cast<DraftContext>(below(3));
    const GenerateResult result = session->generate(request);
    last_slots = request.mode == DecodeMode::kPair ? result.slots : std::vector<std::int32_t>{};
    check_same(result, fresh(*engine, request), "request " + std::to_string(i));
    computed += result.stats.extend_positions;
    asked += result.stats.cached_positions + result.stats.extend_positions;
  }
  CHECK(computed < asked / 2);  // and most of it is not computed again
}

int main(int argc, char** argv) { return pipo::test::run(argc, argv); }
