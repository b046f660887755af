/// The device's sampler against the engine's: same options, same draws, same ids.
#include <algorithm>

#include "decode/sampler.h"
#include "test/cuda/device_memory.h"
#include "test/kernels/op_testing.h"

using namespace pipo;
using namespace pipo::test;

namespace {

struct Setting {
  const char* name;
  SamplingOptions options;
  int vocab = 5003;  // three blocks, no multiple of anything
  int banned = -1;
  bool restricted = false;
  std::vector<std::int32_t> stop_ids = {};
  int min_new_tokens = 0;
};

std::vector<Setting> settings() {
  std::vector<Setting> all;
  const auto add = [&](const char* name, float temperature) -> Setting& {
    all.push_back({name, {}});
    all.back().options.temperature = temperature;
    return all.back();
  };
  add("greedy", 0.0f);
  add("few ids", 0.0f).vocab = 97;
  add("few ids, temperature", 1.0f).vocab = 97;
  SamplingOptions& penalties = add("greedy, penalties", 0.0f).options;
  penalties.presence_penalty = 1.5f;
  penalties.repetition_penalty = 1.3f;
  add("temperature", 0.8f);
  add("top-k", 1.0f).options.top_k = 20;
  add("top-k of one", 1.0f).options.top_k = 1;
  add("top-p", 1.2f).options.top_p = 0.9f;
  add("top-p of almost nothing", 1.2f).options.top_p = 1e-6f;
  add("min-p", 1.0f).options.min_p = 0.05f;
  SamplingOptions& both = add("min-p and top-p", 1.0f).options;
  both.min_p = 0.02f;
  both.top_p = 0.8f;
  Setting& everything = add("everything", 1.0f);
  everything.options = {1.0f, 20, 0.95f, 0.01f, 1.5f, 1.1f, 0};
  everything.banned = 7;
  everything.restricted = true;
  add("banned", 0.0f).banned = 3;
  add("top-k beyond the candidates", 0.05f).options.top_k = 5003;
  add("more candidates than are sorted at once", 20.0f).vocab = 9001;
  all.back().options.top_p = 0.97f;
  add("more candidates in one bin than fit in shared memory", 5000.0f).vocab = 9001;
  all.back().options.top_p = 0.5f;
  add("top-k of a flat distribution", 5000.0f).options.top_k = 4500;
  Setting& stops = add("stop ids too early", 0.0f);
  stops.stop_ids = {0, 4096, 5002};
  stops.min_new_tokens = 4;  // three have been produced
  Setting& may_stop = add("stop ids at the right time", 1.0f);
  may_stop.stop_ids = {0, 4096, 5002};
  may_stop.min_new_tokens = 3;
  return all;
}

/// Logits that have their best at a place which the setting's rules decide about.
std::vector<float> logits_for(const Setting& s) {
  std::vector<float> logits = random_floats(static_cast<std::size_t>(s.vocab + 9), 3.0f);
  for (int id = s.vocab; id < s.vocab + 9; ++id) logits[id] = 100.0f;  // padding rows
  for (const std::int32_t id : s.stop_ids) logits[id] = 20.0f + 0.1f * (id % 7);
  if (s.banned >= 0) logits[s.banned] = 50.0f;
  return logits;
}

/// Device memory of one choice; the scratch is that of the choices before.
class DeviceChoice {
 public:
  explicit DeviceChoice(int vocab)
      : scratch_(static_cast<std::size_t>(cuda::sample_scratch_bytes(vocab))),
        id_(std::size_t{1}),
        logprob_(std::vector<float>{NAN}),
        request_(std::size_t{1}) {
    args.vocab = vocab;
    args.request = request_.get();
    args.scratch = scratch_.get();
    args.id = id_.get();
    args.logprob = logprob_.get();
  }
  Sampled run(const cuda::SampleRequest& request) const {
    request_.put({request});
    finish(cuda::sample(queue(), args));
    return {id_.read()[0], logprob_.read()[0]};
  }
  cuda::SampleArgs args;

 private:
  Device<std::uint8_t> scratch_;
  Device<int> id_;
  Device<float> logprob_;
  Device<cuda::SampleRequest> request_;
};

cuda::SampleRequest request_of(const Setting& s) {
  cuda::SampleRequest r;
  r.temperature = s.options.temperature;
  r.top_p = s.options.top_p;
  r.min_p = s.options.min_p;
  r.top_k = s.options.top_k;
  r.repetition_penalty = s.options.repetition_penalty;
  r.presence_penalty = s.options.presence_penalty;
  r.seed = s.options.seed;
  r.banned = s.banned;
  r.wants_logprob = 1;
  r.min_new_tokens = s.min_new_tokens;
  r.n_stop_ids = static_cast<int>(s.stop_ids.size());
  return r;
}

}  // namespace

TEST("every option draws what the engine's sampler draws") {
  for (Setting s : settings()) {
    DeviceChoice choice(s.vocab);
    int other = 0, rounds = 0;
    for (std::uint64_t seed = 0; seed < 6; ++seed) {
      s.options.seed = seed;
      std::vector<float> logits = logits_for(s);
      std::vector<std::uint8_t> allowed(static_cast<std::size_t>(s.vocab + 7) / 8, 0xff);
      if (s.restricted) {
        for (std::uint8_t& byte : allowed) byte = static_cast<std::uint8_t>(generator()());
      }
      const std::vector<std::int32_t> prompt = {1, 2, 3, 50, s.vocab - 1}, produced = {2, 90, 91};
      Sampler sampler(s.options, {s.vocab, s.banned, s.stop_ids, s.min_new_tokens}, allowed, prompt, true);
      for (const std::int32_t id : produced) sampler.produced(id);
      std::vector<std::uint8_t> seen(static_cast<std::size_t>(s.vocab), 0);
      for (const std::int32_t id : prompt) seen[id] |= cuda::kSeenInPrompt;
      for (const std::int32_t id : produced) seen[id] |= cuda::kSeenProduced;
      const Device<float> dlogits(logits);
      const Device<std::uint8_t> dallowed(allowed), dseen(seen);
      const Device<std::uint64_t> slot(std::vector<std::uint64_t>{40 + seed});
      const Device<std::int32_t> stops(s.stop_ids), n_produced(std::vector<std::int32_t>{2});
      cuda::SampleRequest request = request_of(s);
      request.allowed = s.restricted ? dallowed.get() : nullptr;
      request.seen = s.options.presence_penalty != 0.0f || s.options.repetition_penalty != 1.0f ? dseen.get() : nullptr;
      request.stop_ids = stops.get();
      choice.args.logits = dlogits.get();
      choice.args.slot = slot.get();
      choice.args.slot_offset = 1;
      choice.args.produced = n_produced.get();
      choice.args.produced_offset = 1;
      const Sampled found = choice.run(request), again = choice.run(request);
      CHECK(again.id == found.id && again.logprob == found.logprob);
      const Sampled expected = sampler.sample(logits, 41 + seed);
      ++rounds;
      // A draw within a rounding error of a border between two ids may fall on the other side of it.
      if (found.id != expected.id)
        ++other;
      else
        CHECK(std::fabs(found.logprob - expected.logprob) < 1e-3f);
    }
    CHECK_MESSAGE(other == 0,
                  std::string(s.name) + ": " + std::to_string(other) + " of " + std::to_string(rounds) + " differ");
  }
}

TEST("a vocabulary of full size: the best id anywhere is found") {
  constexpr int kVocab = 248077;
  std::vector<float> logits = random_floats(248320, 1.0f);
  DeviceChoice choice(kVocab);
  const Device<std::uint64_t> slot(std::size_t{1});
  choice.args.slot = slot.get();
  for (const int best : {0, 2048, kVocab - 1}) {
    logits[best] = 30.0f;
    const Device<float> dlogits(logits);
    choice.args.logits = dlogits.get();
    cuda::SampleRequest request;
    CHECK(choice.run(request).id == best);
    request.temperature = 0.5f;
    request.top_k = 20;
    CHECK(choice.run(request).id == best);
    logits[best] = 0.0f;
  }
}

TEST("equal logits go to the lower id; nothing but NaN still gives an id") {
  constexpr int kVocab = 5003;
  std::vector<float> logits(kVocab, NAN);
  const Device<std::uint64_t> slot(std::size_t{1});
  DeviceChoice choice(kVocab);
  choice.args.slot = slot.get();
  for (const bool numbers : {true, false}) {
    std::fill(logits.begin(), logits.end(), NAN);
    if (numbers) logits[77] = -0.0f, logits[1200] = logits[4999] = 0.0f;
    const Device<float> dlogits(logits);
    choice.args.logits = dlogits.get();
    for (const float temperature : {0.0f, 1e-9f}) {
      cuda::SampleRequest request;
      request.temperature = temperature;
      request.top_k = 1;
      CHECK(choice.run(request).id == (numbers ? 77 : 0));
    }
  }
}

TEST("the thread that knows the token takes the step's decision, also where nothing is sampled") {
  constexpr int kVocab = 5003;
  std::vector<float> logits = random_floats(kVocab, 1.0f);
  logits[4321] = 30.0f;
  const Device<float> dlogits(logits);
  const Device<cuda::StepRecord> ring(std::size_t{cuda::kRing});
  for (const float temperature : {0.0f, 0.7f}) {
    for (const int runs : {1, 0}) {
      cuda::StepState state{};
      state.ring = ring.get();
      state.active = state.run_first = runs;
      state.max_new_tokens = 10;
      state.threshold = 0.5f;
      const Device<cuda::StepState> dstate(std::vector{state});
      cuda::StepState* at = dstate.get();
      DeviceChoice choice(kVocab);
      choice.args.logits = dlogits.get();
      choice.args.slot = &at->slot;
      choice.args.produced = &at->tokens;
      choice.args.id = &at->first;
      choice.args.logprob = &at->first_logprob;
      choice.args.enabled = &at->run_first;
      choice.args.then = cuda::StepDecision::kChoose;
      choice.args.step = at;
      cuda::SampleRequest request;
      request.temperature = temperature;
      choice.run(request);
      const cuda::StepRecord record = ring.read()[0];
      CHECK(record.first_number == 1 && record.ended == 1 - runs);
      if (runs) CHECK(record.first == 4321);
    }
  }
}

int main(int argc, char** argv) { return device_present() ? pipo::test::run(argc, argv) : kSkipped; }
