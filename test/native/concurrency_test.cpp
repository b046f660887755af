/// Cancellation, closing and several sessions at once. Run under the thread sanitizer too.
#include <atomic>
#include <chrono>
#include <thread>

#include "core/turn_queue.h"
#include "native/engine_fixture.h"
#include "pipo/random_model.h"

using namespace pipo;
using test::greedy;

namespace {

/// A model large enough that its prefill takes a while.
std::shared_ptr<Engine> slow_engine(const test::TempFolder& folder) {
  const std::string file = folder.file("random.pipo");
  ModelConfig config = released_config("tiny");
  config.max_positions = 8192;
  write_random_packed_file(file, "random", config, WeightDtype::kInt8, 32, 2);
  return Engine::load_packed(file, test::load_options(WeightDtype::kInt8, "reference"));
}

}  // namespace

TEST("sessions of one engine at once give the tokens that each gives alone") {
  const auto engine = test::load_golden("tiny-4b");
  constexpr std::size_t kSessions = 4;
  std::vector<GenerateRequest> requests;
  std::vector<std::vector<std::int32_t>> alone(kSessions), together(kSessions);
  for (std::size_t i = 0; i < kSessions; ++i) {
    requests.push_back(greedy(test::random_ids(engine->config(), 50 + 31 * i, static_cast<std::uint32_t>(i)), 40));
    requests[i].mode = i == 3 ? DecodeMode::kPlain : DecodeMode::kPair;
    requests[i].sampling.temperature = i % 2 == 0 ? 0.0f : 0.8f;
    requests[i].sampling.seed = i;
    alone[i] = engine->create_session(256)->generate(requests[i]).slots;
  }
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < kSessions; ++i) {
    threads.emplace_back([&, i] { together[i] = engine->create_session(256)->generate(requests[i]).slots; });
  }
  for (std::thread& thread : threads) thread.join();
  for (std::size_t i = 0; i < kSessions; ++i) CHECK(together[i] == alone[i]);
}

TEST("who gives up the turn while another waits does not get it again first") {
  TurnQueue queue;
  std::vector<char> order;
  for (int round = 0; round < 50; ++round) {
    std::atomic<bool> asked{false};
    std::thread other;
    {
      const Turn mine(queue, [] { return false; });
      other = std::thread([&] {
        const Turn theirs(queue, [&] {
          asked = true;  // called with the queue locked: whoever comes next comes after us
          return false;
        });
        order.push_back('b');
      });
      while (!asked) std::this_thread::yield();
    }
    const Turn again(queue, [] { return false; });
    order.push_back('a');
    other.join();
  }
  for (std::size_t i = 0; i < order.size(); ++i) CHECK(order[i] == (i % 2 == 0 ? 'b' : 'a'));
}

TEST("cancelling from another thread stops within a decode step") {
  const auto engine = test::load_golden("tiny-08b");
  const auto session = engine->create_session(4096);
  std::atomic<int> steps{0};
  std::thread canceller;
  const GenerateResult result = session->generate(greedy({1, 2, 3, 4}, 100000, 0.5f), [&](const Step&) {
    if (++steps == 5) canceller = std::thread([&] { session->cancel(); });
    if (steps == 6) canceller.join();  // the flag is up before this step ends
    return true;
  });
  if (canceller.joinable()) canceller.join();  // the flag was seen before a sixth step began
  CHECK(result.stop_reason == StopReason::kCancelled);
  CHECK(result.stats.steps <= 6);
  CHECK(static_cast<int>(result.slots.size()) == 2 * result.stats.steps);
  // The session goes on, and equals a fresh one.
  const auto again = session->generate(greedy({1, 2, 3, 4}, 30));
  CHECK(again.slots == engine->create_session(64)->generate(greedy({1, 2, 3, 4}, 30)).slots);
}

TEST("a request that was withdrawn before it began does no work") {
  const auto engine = test::load_golden("tiny-08b");
  const auto session = engine->create_session(64);
  const std::atomic<bool> withdrawn{true};
  GenerateRequest request = greedy({1, 2, 3, 4}, 10);
  request.cancelled = &withdrawn;
  const GenerateResult result = session->generate(request);
  CHECK(result.stop_reason == StopReason::kCancelled);
  CHECK(result.stats.extend_positions == 0 && result.tokens.empty() && session->positions() == 0);
}

TEST("cancelling a prefill stops within a layer, and what was done before counts") {
  const test::TempFolder folder;
  const auto engine = slow_engine(folder);
  const auto session = engine->create_session(8192);
  const auto prompt = test::random_ids(engine->config(), 4000, 3);
  std::atomic<bool> done{false};
  std::chrono::steady_clock::time_point cancelled_at;
  std::thread canceller([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    cancelled_at = std::chrono::steady_clock::now();
    session->cancel();
  });
  const GenerateResult result = session->generate(greedy(prompt, 4));
  const auto ended_at = std::chrono::steady_clock::now();
  canceller.join();
  const auto waited = ended_at - cancelled_at;
  CHECK(result.stop_reason == StopReason::kCancelled && result.tokens.empty());
  // A chunk of the reference kernels takes seconds under a sanitizer, a layer a small part of that.
  CHECK(waited < std::chrono::milliseconds(2500));
  CHECK(result.stats.extend_positions % 128 == 0);
}

TEST("a session that was stopped in the middle of a prefill equals a fresh one afterwards") {
  const auto engine = test::load_golden("tiny-9b");
  const auto prompt = test::random_ids(engine->config(), 1400, 5);
  const auto expected = engine->create_session(2048)->generate(greedy(prompt, 20)).slots;
  for (const int microseconds : {50, 400, 1500, 3000, 8000}) {
    const auto session = engine->create_session(2048);
    std::thread canceller([&] {
      std::this_thread::sleep_for(std::chrono::microseconds(microseconds));
      session->cancel();
    });
    session->generate(greedy(prompt, 20));
    canceller.join();
    CHECK(session->generate(greedy(prompt, 20)).slots == expected);
  }
}

TEST("a listener that answers false stops generation after its step") {
  const auto session = test::load_golden("tiny-08b")->create_session(64);
  int steps = 0;
  const GenerateResult result = session->generate(greedy({1, 2}, 50), [&](const Step&) { return ++steps < 3; });
  CHECK(result.stop_reason == StopReason::kListenerStopped && result.stats.steps == 3);
}

TEST("one request at a time per session") {
  const auto engine = test::load_golden("tiny-08b");
  const auto session = engine->create_session(64);
  bool refused = false;
  session->generate(greedy({1, 2}, 4), [&](const Step&) {
    refused = test::error_of([&] { session->generate(greedy({1}, 1)); }) == ErrorCode::kBusy &&
              test::error_of([&] { session->reset(); }) == ErrorCode::kBusy;
    return false;
  });
  CHECK(refused);
  CHECK(session->generate(greedy({1, 2}, 4)).stats.tokens == 4);
}

TEST("closing the engine ends every running request and refuses later ones") {
  const auto engine = test::load_golden("tiny-08b");
  std::vector<std::thread> threads;
  std::atomic<int> started{0};
  StopReason reasons[3] = {};
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&, i] {
      bool first = true;
      const auto session = engine->create_session(4096);
      reasons[i] = session
                       ->generate(greedy({1, 2, 3}, 100000, 1.0f),
                                  [&](const Step&) {
                                    if (first) ++started;
                                    first = false;
                                    return true;
                                  })
                       .stop_reason;
    });
  }
  while (started < 3) std::this_thread::yield();
  engine->close();
  for (std::thread& thread : threads) thread.join();
  for (const StopReason reason : reasons) {
    CHECK(reason == StopReason::kEngineClosed || reason == StopReason::kContextFull);
  }
  CHECK(test::error_of([&] { engine->create_session(16); }) == ErrorCode::kClosed);
}

TEST("a session keeps its engine alive") {
  auto engine = test::load_golden("tiny-08b");
  const auto session = engine->create_session(64);
  engine.reset();
  CHECK(session->generate(greedy({1, 2, 3}, 6)).stats.tokens == 6);
}

TEST("turns are given in the order in which they were asked for, and waiting can be given up") {
  TurnQueue queue;
  std::vector<int> order;
  std::atomic<bool> give_up{false}, in_line[4] = {};
  std::vector<std::thread> threads;
  {
    const Turn held(queue, [] { return false; });
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&, i] {
        const Turn turn(queue, [&, i] {
          in_line[i] = true;
          return i == 2 && give_up;
        });
        if (turn) order.push_back(i);
      });
      while (!in_line[i]) std::this_thread::yield();
    }
    give_up = true;
    queue.wake();
    threads[2].join();  // without the turn ever having been free
  }
  for (const int i : {0, 1, 3}) threads[i].join();
  CHECK(order == (std::vector<int>{0, 1, 3}));
}

int main(int argc, char** argv) { return pipo::test::run(argc, argv); }
