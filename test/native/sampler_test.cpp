/// The sampler on hand-made logits: which ids may come out, how often, and what they score.
#include "decode/sampler.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "decode/random.h"
#include "support/check.h"

using namespace pipo;

namespace {

/// Probabilities .4 .3 .2 .06 .04 for ids 0 ... 4, scaled so that they are a softmax.
const std::vector<float> kProbabilities = {0.4f, 0.3f, 0.2f, 0.06f, 0.04f};

std::vector<float> logits_of(const std::vector<float>& probabilities) {
  std::vector<float> logits;
  for (const float p : probabilities) logits.push_back(std::log(p) + 3.0f);
  return logits;
}

struct Setup {
  SamplingOptions options;
  SamplerRange range{5, -1};
  std::vector<std::uint8_t> allowed;
  std::vector<std::int32_t> prompt;
  std::vector<std::int32_t> produced;
  bool logprobs = false;

  Setup() { options.temperature = 1.0f; }

  Sampler make() const {
    Sampler sampler(options, range, allowed, prompt, logprobs);
    for (const std::int32_t id : produced) sampler.produced(id);
    return sampler;
  }
  /// Share of each id over many slots.
  std::map<std::int32_t, double> shares(const std::vector<float>& probabilities = kProbabilities,
                                        int draws = 20000) const {
    Sampler sampler = make();
    std::map<std::int32_t, double> counts;
    for (int slot = 0; slot < draws; ++slot) {
      std::vector<float> logits = logits_of(probabilities);
      counts[sampler.sample(logits, static_cast<std::uint64_t>(slot)).id] += 1.0 / draws;
    }
    return counts;
  }
  std::set<std::int32_t> ids() const {
    std::set<std::int32_t> found;
    for (const auto& [id, share] : shares()) found.insert(id);
    return found;
  }
  std::int32_t greedy(std::vector<float> logits) const {
    Setup copy = *this;
    copy.options.temperature = 0.0f;
    return copy.make().sample(logits, 0).id;
  }
};

using Ids = std::set<std::int32_t>;

}  // namespace

TEST("draws follow the distribution") {
  const auto shares = Setup().shares();
  for (int id = 0; id < 5; ++id) CHECK(std::abs(shares.at(id) - kProbabilities[id]) < 0.015);
}

TEST("stop ids wait for the tokens that were asked for") {
  const std::vector<std::int32_t> stops = {0, 3};
  Setup setup;
  setup.range.stop_ids = stops;
  setup.range.min_new_tokens = 2;
  CHECK(setup.ids() == Ids({1, 2, 4}));
  CHECK(setup.greedy(logits_of(kProbabilities)) == 1);
  setup.produced = {1};
  CHECK(setup.greedy(logits_of(kProbabilities)) == 1);
  setup.produced = {1, 2};
  CHECK(setup.greedy(logits_of(kProbabilities)) == 0);
  setup.produced = {};
  setup.allowed = {0b01001};
  CHECK(setup.make().nothing_allowed());
}

TEST("temperature sharpens and flattens, 0 takes the best") {
  Setup setup;
  CHECK(setup.greedy(logits_of(kProbabilities)) == 0);
  setup.options.temperature = 0.5f;  // squares the probabilities
  const double squares = 0.16 + 0.09 + 0.04 + 0.0036 + 0.0016;
  CHECK(std::abs(setup.shares().at(0) - 0.16 / squares) < 0.015);
  setup.options.temperature = 100.0f;
  CHECK(std::abs(setup.shares().at(4) - 0.2) < 0.015);
}

TEST("top-k, top-p and min-p keep exactly their sets") {
  Setup setup;
  setup.options.top_k = 2;
  CHECK(setup.ids() == (Ids{0, 1}));
  CHECK(std::abs(setup.shares().at(0) - 0.4 / 0.7) < 0.015);  // what is kept is drawn in proportion
  setup.options.top_k = 0;
  setup.options.top_p = 0.7f + 1e-4f;  // 0.7 is not enough, the id that crosses belongs to the set
  CHECK(setup.ids() == (Ids{0, 1, 2}));
  setup.options.top_p = 0.69f;
  CHECK(setup.ids() == (Ids{0, 1}));
  setup.options.top_p = 1e-9f;
  CHECK(setup.ids() == (Ids{0}));
  setup.options.top_p = 1.0f;
  setup.options.min_p = 0.14f;  // 0.056 of the whole
  CHECK(setup.ids() == (Ids{0, 1, 2, 3}));
  setup.options.min_p = 0.16f;
  CHECK(setup.ids() == (Ids{0, 1, 2}));
}

TEST("filters are joint: each is judged on the unfiltered distribution") {
  Setup setup;
  setup.options.top_k = 3;
  setup.options.top_p = 0.65f;  // of the whole: ids 0 and 1; of the three kept by top-k it would be the same two
  CHECK(setup.ids() == (Ids{0, 1}));
  setup.options.top_k = 2;
  setup.options.top_p = 0.5f;  // of the whole 0.4 is not enough; after top-k 0.57 would be
  CHECK(setup.ids() == (Ids{0, 1}));
}

TEST("draws depend on seed and slot alone") {
  Setup setup;
  const auto run = [&setup](std::uint64_t seed) {
    setup.options.seed = seed;
    Sampler sampler = setup.make();
    std::vector<std::int32_t> ids;
    for (std::uint64_t slot = 100; slot < 164; ++slot) {
      std::vector<float> logits = logits_of(kProbabilities);
      ids.push_back(sampler.sample(logits, slot).id);
    }
    return ids;
  };
  CHECK(run(1) == run(1));
  CHECK(run(1) != run(2));
  // The last draw alone is the same without those before it.
  const auto last = run(1).back();
  setup.options.seed = 1;
  std::vector<float> logits = logits_of(kProbabilities);
  CHECK(setup.make().sample(logits, 163).id == last);
}

TEST("uniform numbers are spread evenly over slots and seeds") {
  double sum = 0;
  int below_tenth = 0;
  for (std::uint64_t i = 0; i < 10000; ++i) {
    const float u = uniform_at(i % 7, i);
    CHECK(u >= 0.0f && u < 1.0f);
    sum += u;
    below_tenth += u < 0.1f;
  }
  CHECK(std::abs(sum / 10000 - 0.5) < 0.02);
  CHECK(below_tenth > 850 && below_tenth < 1150);
}

TEST("penalties: presence once per produced id, repetition on prompt and output") {
  Setup setup;
  std::vector<float> logits = {2.0f, 1.9f, 1.0f, -1.0f, -1.1f};
  setup.options.presence_penalty = 0.5f;
  setup.produced = {0, 0, 0};
  CHECK(setup.greedy(logits) == 1);  // 1.5 once, not 0.5
  setup.options.presence_penalty = 0.05f;
  CHECK(setup.greedy(logits) == 0);  // three times would be 1.85
  setup.options.presence_penalty = 0.5f;
  setup.produced = {};
  setup.prompt = {0};
  CHECK(setup.greedy(logits) == 0);  // the prompt does not count for presence
  setup.options.presence_penalty = 0.0f;
  setup.options.repetition_penalty = 1.2f;
  CHECK(setup.greedy(logits) == 1);
  setup.prompt = {3};
  CHECK(setup.greedy({-9.0f, -9.0f, -9.0f, -1.0f, -1.1f}) == 4);  // negative logits are multiplied
}

TEST("PAD, padding rows and masked ids never come out") {
  Setup setup;
  setup.range = {4, 0};
  CHECK(setup.ids() == (Ids{1, 2, 3}));
  CHECK(setup.greedy(logits_of(kProbabilities)) == 1);
  setup.allowed = {0b01001};
  CHECK(setup.ids() == (Ids{3}));
  CHECK(setup.greedy(logits_of(kProbabilities)) == 3);
  CHECK(!setup.make().nothing_allowed());
  setup.allowed = {0b10001};  // only PAD and a padding row
  CHECK(setup.make().nothing_allowed());
}

TEST("PAD in the prompt is exempt from the repetition penalty") {
  Setup setup;
  setup.range = {5, 2};
  setup.prompt = {2, 2};
  setup.options.repetition_penalty = 2.0f;
  CHECK(setup.greedy({1.0f, 0.5f, 9.0f, 0.0f, 0.0f}) == 0);
}

TEST("log-probabilities are over what may be produced, before penalties and temperature") {
  Setup setup;
  setup.logprobs = true;
  setup.range = {5, 1};
  setup.options.temperature = 0.0f;
  setup.options.repetition_penalty = 1.5f;
  setup.options.presence_penalty = 0.3f;
  setup.produced = {0};
  std::vector<float> logits = logits_of(kProbabilities);
  const Sampled best = setup.make().sample(logits, 0);
  CHECK(best.id == 2);
  CHECK(std::abs(best.logprob - std::log(0.2f / 0.7f)) < 1e-5f);
  setup.options.presence_penalty = 0.0f;
  setup.options.repetition_penalty = 1.01f;
  logits = logits_of(kProbabilities);
  const Sampled penalised = setup.make().sample(logits, 0);
  CHECK(penalised.id == 0);
  CHECK(std::abs(penalised.logprob - std::log(0.4f / 0.7f)) < 1e-5f);
}

TEST("logits that are not numbers give some id, not a crash") {
  Setup setup;
  std::vector<float> logits(5, std::nanf(""));
  const std::int32_t id = setup.make().sample(logits, 0).id;
  CHECK(id >= 0 && id < 5);
}

int main(int argc, char** argv) { return pipo::test::run(argc, argv); }
