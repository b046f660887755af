/// The device's sampler against the engine's: same options, same draws, same ids.
#include <algorithm>

#include "decode/sampler.h"
#include "test/cuda/device_memory.h"
#include "test/kernels/op_testing.h"

using namespace pipo;
using namespace pipo::test;

namespace {

constexpr int kVocab = 1531;

struct Setting {
  const char* name;
  SamplingOptions options;
  int banned = -1;
  bool restricted = false;
};

std::vector<Setting> settings() {
  std::vector<Setting> all(10);
  all[0].name = "greedy";
  all[1].name = "greedy, penalties";
  all[1].options.presence_penalty = 1.5f;
  all[1].options.repetition_penalty = 1.3f;
  all[2].name = "temperature";
  all[2].options.temperature = 0.8f;
  all[3].name = "top-k";
  all[3].options.temperature = 1.0f;
  all[3].options.top_k = 20;
  all[4].name = "top-p";
  all[4].options.temperature = 1.2f;
  all[4].options.top_p = 0.9f;
  all[5].name = "min-p";
  all[5].options.temperature = 1.0f;
  all[5].options.min_p = 0.05f;
  all[6].name = "everything";
  all[6].options = {1.0f, 20, 0.95f, 0.01f, 1.5f, 1.1f, 0};
  all[6].banned = 7;
  all[6].restricted = true;
  all[7].name = "banned";
  all[7].banned = 3;
  all[8].name = "top-k beyond the candidates";
  all[8].options.temperature = 0.05f;
  all[8].options.top_k = kVocab;
  all[9].name = "top-p of a flat distribution";
  all[9].options.temperature = 50.0f;
  all[9].options.top_p = 0.97f;
  return all;
}

}  // namespace

TEST("every option draws what the engine's sampler draws") {
  for (Setting s : settings()) {
    int other = 0, rounds = 0;
    for (std::uint64_t seed = 0; seed < 6; ++seed) {
      s.options.seed = seed;
      std::vector<float> logits = random_floats(kVocab + 9, 3.0f);
      std::vector<std::uint8_t> allowed;
      if (s.restricted) {
        allowed.assign((kVocab + 7) / 8, 0);
        for (std::uint8_t& byte : allowed) byte = static_cast<std::uint8_t>(generator()());
      }
      const std::vector<std::int32_t> prompt = {1, 2, 3, 500, 1530}, produced = {2, 900, 901};
      Sampler sampler(s.options, {kVocab, s.banned}, allowed, prompt, true);
      for (const std::int32_t id : produced) sampler.produced(id);
      std::vector<std::uint8_t> seen(kVocab, 0);
      if (s.options.presence_penalty != 0.0f || s.options.repetition_penalty != 1.0f) {
        for (const std::int32_t id : prompt) seen[id] |= cuda::kSeenInPrompt;
        for (const std::int32_t id : produced) seen[id] |= cuda::kSeenProduced;
      }
      if (allowed.empty()) allowed.assign((kVocab + 7) / 8, 0xff);
      const Device<float> dlogits(logits), logprob(std::size_t{1});
      const Device<std::uint8_t> dallowed(allowed), dseen(seen);
      const Device<std::uint64_t> slot(std::vector<std::uint64_t>{40 + seed});
      const Device<int> id(std::size_t{1});
      cuda::SampleArgs args;
      args.logits = dlogits.get();
      args.vocab = kVocab;
      cuda::SampleRequest r;
      r.banned = s.banned;
      r.allowed = dallowed.get();
      r.seen = dseen.get();
      r.repetition_penalty = s.options.repetition_penalty;
      r.presence_penalty = s.options.presence_penalty;
      r.temperature = s.options.temperature;
      r.top_p = s.options.top_p;
      r.min_p = s.options.min_p;
      r.top_k = s.options.top_k;
      r.seed = seed;
      r.wants_logprob = 1;
      const Device<cuda::SampleRequest> request(std::vector{r});
      args.request = request.get();
      args.slot = slot.get();
      args.slot_offset = 1;
      const Device<std::uint8_t> scratch(static_cast<std::size_t>(cuda::sample_scratch_bytes(kVocab)));
      args.scratch = scratch.get();
      args.id = id.get();
      args.logprob = logprob.get();
      finish(cuda::sample(queue(), args));
      const Sampled expected = sampler.sample(logits, 41 + seed);
      ++rounds;
      // A draw within a rounding error of a border between two ids may fall on the other side of it.
      if (id.read()[0] != expected.id) ++other;
      else CHECK(std::fabs(logprob.read()[0] - expected.logprob) < 1e-3f);
    }
    CHECK_MESSAGE(other == 0, std::string(s.name) + ": " + std::to_string(other) + " of " + std::to_string(rounds) + " differ");
  }
}

TEST("equal logits go to the lower id; nothing but NaN still gives an id") {
  std::vector<float> logits(kVocab, NAN);
  for (const bool numbers : {true, false}) {
    if (numbers) logits[77] = logits[1200] = 2.0f;
    else std::fill(logits.begin(), logits.end(), NAN);
    const Device<float> dlogits(logits), logprob(std::size_t{1});
    const Device<std::uint64_t> slot(std::size_t{1});
    const Device<int> id(std::vector<int>{-5});
    cuda::SampleArgs args;
    args.logits = dlogits.get();
    args.vocab = kVocab;
    const Device<std::uint8_t> scratch(static_cast<std::size_t>(cuda::sample_scratch_bytes(kVocab)));
    const Device<cuda::SampleRequest> request(std::vector{cuda::SampleRequest{}});
    args.scratch = scratch.get();
    args.request = request.get();
    args.slot = slot.get();
    args.id = id.get();
    args.logprob = logprob.get();
    finish(cuda::sample(queue(), args));
    CHECK(id.read()[0] == (numbers ? 77 : 0));
  }
}

int main(int argc, char** argv) { return device_present() ? pipo::test::run(argc, argv) : kSkipped; }
