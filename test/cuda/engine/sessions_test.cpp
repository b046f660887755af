/// Sessions over the CUDA library: what was executed is known and used again, and ends from outside leave no trace.
#include <atomic>
#include <thread>

#include "cuda/engine/device_engine.h"

using namespace pipo;
using test::greedy;
using test::joined;

namespace {

struct Both {
  explicit Both(const std::string& name) : device(test::load_on_device(name)), cpu(test::load_on_cpu(name)) {}
  std::shared_ptr<Engine> device, cpu;

  std::vector<std::int32_t> fresh_slots(const GenerateRequest& request) const {
    return cpu->create_session(64)->generate(request).slots;
  }
};

}  // namespace

TEST("prompts that go on, part and come back compute what they do on the CPU, no more and no less") {
  const Both both("tiny-4b");
  const auto on_device = both.device->create_session(64), on_cpu = both.cpu->create_session(64);
  const auto prompt = test::random_ids(both.cpu->config(), 13, 1);
  const auto check = [&](const std::vector<std::int32_t>& ids, const std::string& what) {
    const GenerateRequest request = greedy(ids, 4, 0.4f);
    const GenerateResult found = on_device->generate(request), expected = on_cpu->generate(request);
    CHECK_MESSAGE(found.slots == expected.slots && found.slots == both.fresh_slots(request), what + ": other slots");
    CHECK_MESSAGE(found.stats.cached_positions == expected.stats.cached_positions &&
                      found.stats.extend_positions == expected.stats.extend_positions,
                  what + ": " + std::to_string(found.stats.cached_positions) + " positions kept, on the CPU " +
                      std::to_string(expected.stats.cached_positions));
    CHECK(on_device->positions() == on_cpu->positions());
    return found.slots;
  };
  const auto slots = check(prompt, "first");
  check(prompt, "again");
  check(joined(prompt, {5}), "one more id");
  auto other = prompt;
  other[6] = other[6] == 1 ? 2 : 1;
  check(other, "parted");
  const std::vector<std::int32_t> even(prompt.begin(), prompt.begin() + 12);
  const auto produced = check(even, "shorter");
  check(joined(joined(even, produced), {9, 8}), "gone on");
  CHECK(!slots.empty());
}

TEST("a request that a listener, a caller or the engine ends leaves a session like any other") {
  const Both both("tiny-08b");
  const auto prompt = test::random_ids(both.cpu->config(), 8, 4);
  const auto full = both.fresh_slots(greedy(prompt, 12, 0.5f));
  const auto session = both.device->create_session(64);
  const GenerateResult stopped = session->generate(greedy(prompt, 12, 0.5f), [](const Step&) { return false; });
  CHECK(stopped.stop_reason == StopReason::kListenerStopped && stopped.stats.steps == 1);
  CHECK(stopped.slots == std::vector<std::int32_t>(full.begin(), full.begin() + 2));
  CHECK(session->generate(greedy(prompt, 12, 0.5f)).slots == full);

  std::atomic<bool> withdrawn{false};
  GenerateRequest request = greedy(prompt, 1000, 0.5f);
  request.cancelled = &withdrawn;
  const GenerateResult cancelled = session->generate(request, [&](const Step&) {
    withdrawn = true;
    return true;
  });
  CHECK(cancelled.stop_reason == StopReason::kCancelled && cancelled.stats.steps == 1);
  const auto longer = joined(joined(prompt, cancelled.slots), {3, 1});
  CHECK(session->generate(greedy(longer, 6)).slots == both.fresh_slots(greedy(longer, 6)));

  const GenerateResult closed = session->generate(greedy(prompt, 1000, 0.5f), [&](const Step&) {
    both.device->close();
    return true;
  });
  CHECK(closed.stop_reason == StopReason::kEngineClosed && closed.stats.steps == 1);
}

TEST("a listener that throws leaves a session that can be used") {
  const Both both("tiny-08b");
  const auto session = both.device->create_session(64);
  CHECK_THROWS(session->generate(greedy({4, 3, 2, 1}, 8), [](const Step&) -> bool { throw std::runtime_error("no"); }));
  CHECK(session->generate(greedy({4, 3, 2, 1}, 8)).slots == both.fresh_slots(greedy({4, 3, 2, 1}, 8)));
}

TEST("two sessions take turns, each with the tokens that it has alone") {
  const Both both("tiny-08b");
  GenerateRequest requests[2] = {greedy(test::random_ids(both.cpu->config(), 9, 5), 8),
                                 greedy(test::random_ids(both.cpu->config(), 6, 6), 6)};
  requests[1].mode = DecodeMode::kPlain;
  requests[1].sampling.temperature = 0.8f;
  std::vector<std::int32_t> found[2];
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&, i] { found[i] = both.device->create_session(32)->generate(requests[i]).slots; });
  }
  for (std::thread& thread : threads) thread.join();
  for (int i = 0; i < 2; ++i) CHECK(found[i] == both.fresh_slots(requests[i]));
}

TEST("a context beyond the first room grows without a change in what comes out") {
  const Both both("tiny-08b");
  const auto session = both.device->create_session(1024);
  session->generate(greedy({1, 2, 3, 4}, 1));
  // Room for many more than the first request's positions is made before the steps begin.
  int steps = 0;
  const GenerateResult grown =
      session->generate(greedy({1, 2, 3, 4}, 900, 0.5f), [&](const Step&) { return ++steps < 4; });
  const auto expected = both.fresh_slots(greedy({1, 2, 3, 4}, 8, 0.5f));
  CHECK(grown.slots == std::vector<std::int32_t>(expected.begin(),
                                                 expected.begin() + static_cast<std::ptrdiff_t>(grown.slots.size())));
}

int main(int argc, char** argv) { return test::run_on_device(argc, argv); }
