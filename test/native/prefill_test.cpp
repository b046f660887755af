/// Prefill in chunks of any size is the same computation as one position after the other.
#include <algorithm>
#include <cmath>

#include "cache/timeline.h"
#include "model/cpu_model.h"
#include "native/engine_fixture.h"
#include "weights/load_weights.h"

using namespace pipo;

namespace {

constexpr float kTolerance = 1e-4f;

/// A model without an engine around it, so that chunk sizes are the test's own.
struct BareModel {
  explicit BareModel(const std::string& name, WeightDtype dtype = WeightDtype::kF32)
      : loaded(
            load_weights(test::read_description(test::golden_directory(name)), test::load_options(dtype), {}, nullptr)),
        backend(kernels::make_backend({"", 2}, &reason)),
        model(loaded.header.config, loaded.weights, StateShape::of(loaded.header.config, kernels::KvType::kF32),
              *backend) {}

  std::string reason;
  LoadedWeights loaded;
  std::unique_ptr<kernels::Backend> backend;
  CpuModel model;
};

/// Hidden vector and draft hidden after all slots, and the logits of both.
struct Outcome {
  std::vector<float> hidden, draft, first_logits, second_logits;
};

Outcome run(BareModel& bare, DecodeMode mode, std::span<const std::int32_t> slots, std::int32_t chunk_positions) {
  Timeline timeline(bare.model.make_states(), 512);
  timeline.reset(mode);
  timeline.reserve(static_cast<std::int32_t>(slots.size()));
  const std::size_t step = static_cast<std::size_t>(chunk_positions * timeline.slots_per_position());
  for (std::size_t at = 0; at < slots.size(); at += step) {
    CHECK(bare.model.extend(timeline, slots.subspan(at, std::min(step, slots.size() - at)), {}, nullptr).done());
  }
  Outcome out;
  const auto size = bare.model.config().hidden_size;
  out.hidden.assign(timeline.hidden(), timeline.hidden() + size);
  CHECK(bare.model.compute_logits(timeline, timeline.hidden()) == kernels::Status::kOk);
  out.first_logits.assign(bare.model.logits().begin(), bare.model.logits().end());
  if (mode == DecodeMode::kPlain) return out;
  CHECK(bare.model.draft(timeline, 7, 0) == kernels::Status::kOk);
  const float* draft = bare.model.draft_result(timeline);
  out.draft.assign(draft, draft + size);
  CHECK(bare.model.compute_logits(timeline, draft) == kernels::Status::kOk);
  out.second_logits.assign(bare.model.logits().begin(), bare.model.logits().end());
  return out;
}

void check_close(const std::vector<float>& a, const std::vector<float>& b, const std::string& what) {
  float worst = 0, scale = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    worst = std::max(worst, std::abs(a[i] - b[i]));
    scale = std::max(scale, std::abs(b[i]));
  }
  CHECK_MESSAGE(a.size() == b.size() && worst <= kTolerance * scale, what + " differs by " + std::to_string(worst));
}

}  // namespace

TEST("chunks of 1, 2, 7 and 64 positions give the same states") {
  for (const char* name : test::kAllCheckpoints) {
    BareModel bare(name);
    for (const DecodeMode mode : {DecodeMode::kPair, DecodeMode::kPlain}) {
      if (mode == DecodeMode::kPair && !bare.model.config().pipo) continue;
      const auto slots = test::random_ids(bare.model.config(), mode == DecodeMode::kPair ? 200 : 100, 11);
      const Outcome steps = run(bare, mode, slots, 1);
      for (const std::int32_t chunk : {2, 7, 64}) {
        const Outcome chunks = run(bare, mode, slots, chunk);
        const std::string what = std::string(name) + ", chunks of " + std::to_string(chunk);
        check_close(chunks.hidden, steps.hidden, what + ": hidden");
        check_close(chunks.first_logits, steps.first_logits, what + ": first logits");
        check_close(chunks.draft, steps.draft, what + ": draft hidden");
        check_close(chunks.second_logits, steps.second_logits, what + ": second logits");
      }
    }
  }
}

TEST("a snapshot inside a chunk is the state at that position") {
  BareModel bare("tiny-4b");
  const auto slots = test::random_ids(bare.model.config(), 60, 5);
  Timeline whole(bare.model.make_states(), 64);
  whole.reserve(30);
  auto snapshot = whole.snapshots().take_free(13);
  const SnapshotPoint points[] = {{13, snapshot.get()}};
  CHECK(bare.model.extend(whole, slots, points, nullptr).done());
  whole.snapshots().add(std::move(snapshot));

  // Going back to it and on with other slots is the same as never having taken the first way.
  auto other = slots;
  for (std::size_t i = 26; i < other.size(); ++i) other[i] = (other[i] + 1) % 200;
  CHECK(whole.rewind_to_match(DecodeMode::kPair, other) == 13);
  CHECK(bare.model.extend(whole, std::span(other).subspan(26), {}, nullptr).done());
  Timeline fresh(bare.model.make_states(), 64);
  fresh.reserve(30);
  CHECK(bare.model.extend(fresh, other, {}, nullptr).done());
  const auto size = bare.model.config().hidden_size;
  check_close({whole.hidden(), whole.hidden() + size}, {fresh.hidden(), fresh.hidden() + size}, "hidden");
}

int main(int argc, char** argv) { return pipo::test::run(argc, argv); }
