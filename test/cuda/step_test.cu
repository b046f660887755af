/// The decisions of a pair step: stop ids, limits, gates, cancellation, and what the host reads of each step.
#include "kernels/cuda/step.cuh"
#include "test/cuda/device_memory.h"
#include "test/support/check.h"

using namespace pipo;
using namespace pipo::test;
using cuda::StepRecord;
using cuda::StepState;

namespace {

/// In a step the last thread of sampling does this.
__global__ void choose_kernel(StepState* s) { cuda::step_choose(s); }

/// What sampling and the heads leave behind in one step.
struct Outcome {
  int first, second;
  float confidence_logit, pre_gate_logit;
};

class Request {
 public:
  explicit Request(StepState start)
      : ring_(std::size_t{cuda::kRing}),
        cancel_(std::size_t{1}),
        stop_ids_(std::vector<int>{5}),
        state_(std::size_t{1}) {
    start.stop_ids = stop_ids_.get();
    start.ring = ring_.get();
    start.cancel = cancel_.get();
    start.active = 1;
    state_.put({start});
  }

  StepRecord step(const Outcome& o) {
    const cuda::Shape one{dim3(1), dim3(1)};
    finish(cuda::launch(one, cuda::step_begin_kernel, state_.get()));
    StepState s = state();
    s.first = s.run_first ? o.first : s.first;
    s.pre_gate_logit = o.pre_gate_logit;
    state_.put({s});
    finish(cuda::launch(one, choose_kernel, state_.get()));
    s = state();
    s.confidence_logit = o.confidence_logit;
    state_.put({s});
    finish(cuda::launch(one, cuda::step_judge_kernel, state_.get()));
    s = state();
    if (s.run_second) s.second = o.second;
    state_.put({s});
    finish(cuda::launch(one, cuda::step_commit_kernel, state_.get()));
    finish(cuda::launch(one, cuda::step_advance_kernel, state_.get()));
    return ring_.read()[(state().step - 1) % cuda::kRing];
  }
  StepState state() const { return state_.read()[0]; }
  void cancel() const { cancel_.put({1}); }

 private:
  Device<StepRecord> ring_;
  Device<int> cancel_, stop_ids_;
  Device<StepState> state_;
};

StepState usual() {
  StepState s{};
  s.pair_mode = 1;
  s.pad = 99;
  s.max_positions = 100;
  s.max_new_tokens = 50;
  s.n_stop_ids = 1;
  s.threshold = 0.5f;
  s.position = 10;
  return s;
}

}  // namespace

TEST("a kept draft makes a pair, a dropped one makes PAD") {
  Request request(usual());
  const StepRecord kept = request.step({1, 2, 3.0f, 0.0f});
  CHECK(kept.first == 1 && kept.second == 2 && kept.drafted == 1 && kept.executed == 1 && kept.row_written == 1);
  CHECK(kept.first_number == 1 && kept.number == 1);
  CHECK(request.state().position == 11 && request.state().pending[1] == 2 && request.state().tokens == 2);
  const StepRecord dropped = request.step({3, 4, -3.0f, 0.0f});
  CHECK(dropped.second == cuda::kNone && dropped.confidence < 0.1f && dropped.executed == 1);
  CHECK(request.state().position == 12 && request.state().pending[1] == 99 && request.state().tokens == 3);
  CHECK(request.state().slot == 22);
}

TEST("a step says when it began and when the one before had ended, by the device's clock") {
  Request request(usual());
  const StepRecord first = request.step({1, 2, 3.0f, 0.0f});
  CHECK(first.begin_ns > 0 && first.previous_end_ns == 0);
  const StepRecord second = request.step({3, 4, 3.0f, 0.0f});
  CHECK(first.begin_ns <= second.previous_end_ns && second.previous_end_ns <= second.begin_ns);
}

TEST("thresholds: below 0 no gate is read, 0 keeps all, 1 proposes nothing") {
  StepState s = usual();
  s.threshold = -1.0f;
  const StepRecord ungated = Request(s).step({1, 2, -9.0f, 0.0f});
  CHECK(ungated.second == 2 && std::isnan(ungated.confidence));
  s.threshold = 0.0f;
  const StepRecord all = Request(s).step({1, 2, -9.0f, 0.0f});
  CHECK(all.second == 2 && all.confidence < 0.01f);
  s.threshold = 1.0f;
  const StepRecord none = Request(s).step({1, 2, 9.0f, 0.0f});
  CHECK(none.second == cuda::kNone && none.drafted == 0 && none.row_written == 1);
}

TEST("a pre-gate skips the draft but not its row") {
  StepState s = usual();
  s.has_pre_gate = 1;
  s.pre_gate_threshold = 0.5f;
  Request request(s);
  const StepRecord skipped = request.step({1, 2, 9.0f, -1.0f});
  CHECK(skipped.drafted == 2 && skipped.second == cuda::kNone && skipped.row_written == 1);
  CHECK(request.step({1, 2, 9.0f, 1.0f}).drafted == 1);
}

TEST("stop ids, limits and cancellation end a request; later steps do nothing") {
  Request stopped(usual());
  const StepRecord stop = stopped.step({5, 2, 9.0f, 0.0f});
  CHECK(stop.first == 5 && stop.second == cuda::kNone && stop.executed == 0 && stop.row_written == 0);
  CHECK(stopped.state().position == 10);
  const StepRecord after = stopped.step({7, 7, 9.0f, 0.0f});
  CHECK(after.ended == 1 && after.number == 2 && stopped.state().tokens == 1 && stopped.state().position == 10);

  Request second_stops(usual());
  CHECK(second_stops.step({1, 5, 9.0f, 0.0f}).executed == 0 && second_stops.state().active == 0);

  StepState s = usual();
  s.max_new_tokens = 1;
  const StepRecord last = Request(s).step({1, 2, 9.0f, 0.0f});
  CHECK(last.drafted == 0 && last.executed == 0);

  s = usual();
  s.max_positions = 10;
  CHECK(Request(s).step({1, 2, 9.0f, 0.0f}).executed == 0);

  Request cancelled(usual());
  CHECK(cancelled.step({1, 2, 9.0f, 0.0f}).executed == 1);
  cancelled.cancel();
  CHECK(cancelled.step({1, 2, 9.0f, 0.0f}).ended == 1 && cancelled.state().position == 11);
}

TEST("a plain step takes one token and its slot is its position") {
  StepState s = usual();
  s.pair_mode = 0;
  Request request(s);
  const StepRecord step = request.step({1, 2, 9.0f, 0.0f});
  CHECK(step.first == 1 && step.second == cuda::kNone && step.drafted == 0 && step.executed == 1);
  CHECK(step.row_written == 0);
  CHECK(request.state().slot == 10 && request.state().position == 11 && request.state().tokens == 1);
}

TEST("drafts see all rows, those of the request, or their own") {
  StepState s = usual();
  s.first_visible = 9;
  for (const int mode : {0, 1, 2}) {
    s.first_visible_mode = mode;
    Request request(s);
    request.step({1, 2, 9.0f, 0.0f});
    request.step({1, 2, 9.0f, 0.0f});
    CHECK(request.state().first_visible_row == (mode == 0 ? 0 : mode == 1 ? 9 : 10));
  }
}

int main(int argc, char** argv) { return device_present() ? pipo::test::run(argc, argv) : kSkipped; }
