/// Steps that run on the device choose what the CPU's engine chooses, and end where it ends.
#include <atomic>
#include <cmath>

#include "cuda/engine/device_engine.h"

using namespace pipo;
using test::greedy;

namespace {

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

bool is_close(float a, float b) { return std::isnan(a) ? std::isnan(b) : std::abs(a - b) <= 2e-4f; }

void check_same(const Run& found, const Run& expected, const std::string& what) {
  CHECK_MESSAGE(found.result.slots == expected.result.slots, what + ": other slots");
  CHECK_MESSAGE(found.result.tokens == expected.result.tokens, what + ": other tokens");
  CHECK_MESSAGE(found.result.stop_reason == expected.result.stop_reason, what + ": another stop reason");
  const GenerateStats &a = found.result.stats, &b = expected.result.stats;
  CHECK_MESSAGE(a.steps == b.steps && a.accepted == b.accepted && a.gated == b.gated &&
                    a.drafts_skipped == b.drafts_skipped && a.tokens == b.tokens,
                what + ": other counts");
  CHECK(found.steps.size() == expected.steps.size());
  for (std::size_t i = 0; i < std::min(found.steps.size(), expected.steps.size()); ++i) {
    const Step &f = found.steps[i], &e = expected.steps[i];
    CHECK_MESSAGE(is_close(f.confidence, e.confidence), what + ": confidence of step " + std::to_string(i));
    CHECK_MESSAGE(is_close(f.first_logprob, e.first_logprob) && is_close(f.second_logprob, e.second_logprob),
                  what + ": log-probabilities of step " + std::to_string(i));
    CHECK(e.device_begin_ns == 0 && (i == 0 ? f.device_previous_end_ns == 0 : true));
    CHECK(f.device_previous_end_ns <= f.device_begin_ns);
    CHECK(0 < f.first_at_ms && f.first_at_ms <= f.done_at_ms);
  }
}

/// Requests of one prompt by what they are about.
std::vector<std::pair<std::string, GenerateRequest>> requests(const std::vector<std::int32_t>& prompt) {
  std::vector<std::pair<std::string, GenerateRequest>> all;
  const auto add = [&](const char* what, auto change) {
    GenerateRequest request = greedy(prompt, 5, 0.5f);
    change(request);
    all.emplace_back(what, std::move(request));
  };
  add("gated by confidence", [](GenerateRequest& r) { r.logprobs = true; });
  add("every draft kept, an odd number of tokens", [](GenerateRequest& r) {
    r.threshold = -1.0f;
    r.max_new_tokens = 3;
  });
  add("no drafts", [](GenerateRequest& r) { r.threshold = 1.0f; });
  add("one token", [](GenerateRequest& r) { r.max_new_tokens = 1; });
  add("drafts see generated rows", [](GenerateRequest& r) {
    r.draft_context = DraftContext::kGenerated;
    r.threshold = 0.0f;
  });
  add("drafts see their own row", [](GenerateRequest& r) {
    r.draft_context = DraftContext::kSelf;
    r.threshold = 0.0f;
  });
  add("sampled", [](GenerateRequest& r) {
    r.sampling = {0.9f, 40, 0.95f, 0.02f, 0.3f, 1.2f, 7};
    r.threshold = 0.3f;
    r.logprobs = true;
  });
  add("few ids allowed", [](GenerateRequest& r) {
    r.allowed_ids.assign(46, 0x11);  // ends with the last real id
    r.threshold = 0.0f;
  });
  add("plain", [](GenerateRequest& r) { r.mode = DecodeMode::kPlain; });
  add("plain, sampled", [](GenerateRequest& r) {
    r.mode = DecodeMode::kPlain;
    r.sampling = {1.1f, 0, 0.9f, 0.0f, 0.0f, 1.1f, 3};
  });
  return all;
}

/// Every `nth` request: emulation is slow.
void check_requests(DeviceStepping stepping, const std::string& name, int nth = 1) {
  const auto device = test::load_on_device("tiny-4b", stepping), cpu = test::load_on_cpu("tiny-4b");
  const auto prompt = test::random_ids(cpu->config(), 5, 1);
  const auto on_device = device->create_session(64), on_cpu = cpu->create_session(64);
  int number = 0;
  for (const auto& [what, request] : requests(prompt)) {
    if (number++ % nth != 0) continue;
    check_same(run(*on_device, request), run(*on_cpu, request), name + ", " + what);
  }
}

}  // namespace

TEST("one launch per step") { check_requests(DeviceStepping::kGraph, "graph"); }
TEST("kernel by kernel") { check_requests(DeviceStepping::kLaunches, "launches", PIPO_CUDA_EMULATED ? 3 : 1); }
TEST("operation by operation") { check_requests(DeviceStepping::kEager, "eager", PIPO_CUDA_EMULATED ? 2 : 1); }

TEST("stop ids end a request, and are not produced before the least number of tokens") {
  const auto device = test::load_on_device("tiny-08b"), cpu = test::load_on_cpu("tiny-08b");
  const auto on_device = device->create_session(64), on_cpu = cpu->create_session(64);
  const auto prompt = test::random_ids(cpu->config(), 6, 2);
  const auto tokens = on_cpu->generate(greedy(prompt, 6, 0.0f)).tokens;
  for (const std::size_t at : {2u, 3u}) {  // a first token and a second one
    GenerateRequest request = greedy(prompt, 12, 0.0f);
    request.stop_ids = {tokens[at], 1 << 20, -5};
    const Run stopped = run(*on_device, request);
    CHECK(stopped.result.stop_reason == StopReason::kStopId);
    check_same(stopped, run(*on_cpu, request), "stopped");
    request.min_new_tokens = static_cast<std::int32_t>(at) + 2;
    request.max_new_tokens = 8;
    check_same(run(*on_device, request), run(*on_cpu, request), "a least number of tokens");
  }
}

TEST("more stop ids than the device takes are checked by the host") {
  const auto device = test::load_on_device("tiny-08b"), cpu = test::load_on_cpu("tiny-08b");
  GenerateRequest request = greedy({1, 2, 3, 4}, 4);
  request.stop_ids.assign(2000, 7);
  check_same(run(*device->create_session(16), request), run(*cpu->create_session(16), request), "many stop ids");
}

TEST("a full context ends a request where it does on the CPU") {
  const auto device = test::load_on_device("tiny-08b"), cpu = test::load_on_cpu("tiny-08b");
  for (const DecodeMode mode : {DecodeMode::kPair, DecodeMode::kPlain}) {
    GenerateRequest request = greedy(test::random_ids(cpu->config(), 6, 3), 1000, 0.5f);
    request.mode = mode;
    const auto on_device = device->create_session(8), on_cpu = cpu->create_session(8);
    const Run found = run(*on_device, request);
    check_same(found, run(*on_cpu, request), "full");
    CHECK(found.result.stop_reason == StopReason::kContextFull);
    CHECK(on_device->positions() == 8);
  }
}

int main(int argc, char** argv) { return test::run_on_device(argc, argv); }
