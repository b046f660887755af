/// Snapshots within their budget, and a KV cache that keeps its rows while it grows.
#include <cstring>

#include "cache/host_states.h"
#include "cache/timeline.h"
#include "support/check.h"

using namespace pipo;

namespace {

StateShape small_shape() {
  StateShape shape;
  shape.n_attention_layers = 2;
  shape.n_delta_layers = 1;
  shape.hidden_size = 8;
  shape.kv_width = 16;
  shape.recurrent_floats = 32;
  shape.conv_floats = 12;
  shape.has_draft_head = true;
  return shape;
}

/// So large that only the fewest snapshots fit.
StateShape huge_shape() {
  StateShape shape = small_shape();
  shape.recurrent_floats = 40 << 20;
  return shape;
}

void keep(SnapshotStore& store, std::int32_t positions) { store.add(store.take_free(positions)); }

std::int32_t latest(const SnapshotStore& store, std::int32_t positions) {
  const Snapshot* found = store.latest_up_to(positions);
  return found == nullptr ? -1 : found->positions;
}

}  // namespace

TEST("the latest snapshot at or before a position is found, later ones can be dropped") {
  HostStates states(small_shape());
  SnapshotStore store(states);
  for (const std::int32_t at : {40, 10, 72}) keep(store, at);
  CHECK(latest(store, 9) == -1);
  CHECK(latest(store, 10) == 10);
  CHECK(latest(store, 71) == 40);
  CHECK(latest(store, 1000) == 72);
  CHECK(store.has(40) && !store.has(41));
  store.drop_after(40);
  CHECK(latest(store, 1000) == 40);
}

TEST("a full store loses the snapshot that is missed least, never the newest") {
  HostStates states(small_shape());
  SnapshotStore store(states);
  const auto capacity = static_cast<std::size_t>(SnapshotStore::capacity(small_shape().snapshot_bytes()));
  for (std::int32_t at = 100; at <= 10000; at += 100) keep(store, at);
  CHECK(store.size() == capacity);
  CHECK(store.has(10000));
  // Near the end they stay close, towards the start they thin out; a divergence anywhere loses a bounded share.
  for (std::int32_t at = 200; at <= 10000; at += 100) {
    const std::int32_t lost = at - std::max(0, latest(store, at));
    CHECK(lost <= std::max(800, (10000 - at) + 800));
  }
}

TEST("a large state keeps few snapshots and still works when all are lent out") {
  CHECK(SnapshotStore::capacity(huge_shape().snapshot_bytes()) == SnapshotStore::kFewest);
  HostStates states(small_shape());
  SnapshotStore store(states);
  std::vector<std::unique_ptr<Snapshot>> lent;
  while (auto snapshot = store.take_free(1)) lent.push_back(std::move(snapshot));
  CHECK(static_cast<std::int32_t>(lent.size()) == SnapshotStore::capacity(small_shape().snapshot_bytes()));
  store.give_back(std::move(lent.back()));
  CHECK(store.take_free(2) != nullptr);
}

TEST("the KV cache keeps every used row of every layer when it grows") {
  const StateShape shape = small_shape();
  KvStore store(shape);
  store.reserve(10, 0, 4000);
  const std::size_t row_bytes = static_cast<std::size_t>(shape.kv_width * shape.kv_element_bytes());
  const auto fill = [&](std::int32_t layer, std::int32_t position) {
    return static_cast<int>((layer * 37 + position) % 251);
  };
  for (std::int32_t layer = 0; layer < 3; ++layer) {
    for (std::int32_t p = 0; p < 10; ++p) {
      std::memset(static_cast<char*>(store.layer(layer).keys) + p * row_bytes, fill(layer, p), row_bytes);
      std::memset(static_cast<char*>(store.layer(layer).values) + p * row_bytes, fill(layer, p) + 1, row_bytes);
    }
  }
  store.reserve(store.capacity() + 1, 10, 4000);
  CHECK(store.capacity() >= 384);
  for (std::int32_t layer = 0; layer < 3; ++layer) {
    for (std::int32_t p = 0; p < 10; ++p) {
      const auto* key = static_cast<unsigned char*>(store.layer(layer).keys) + p * row_bytes;
      const auto* value = static_cast<unsigned char*>(store.layer(layer).values) + p * row_bytes;
      CHECK(key[0] == fill(layer, p) && key[row_bytes - 1] == fill(layer, p));
      CHECK(value[0] == fill(layer, p) + 1 && value[row_bytes - 1] == fill(layer, p) + 1);
    }
  }
  store.reserve(3999, 10, 4000);
  store.reserve(4000, 10, 4000);
  CHECK(store.capacity() == 4000);
}

TEST("a timeline goes back to where prompts part, and to the start after a broken change") {
  Timeline timeline(std::make_unique<HostStates>(small_shape()), 100);
  const std::vector<std::int32_t> slots = {1, 2, 3, 4, 5, 6};
  timeline.begin_change();
  timeline.commit(slots);
  CHECK(timeline.positions() == 3);
  CHECK(timeline.rewind_to_match(DecodeMode::kPair, std::vector<std::int32_t>{1, 2, 3, 4, 5, 6, 7, 8}) == 3);
  auto snapshot = timeline.snapshots().take_free(2);
  timeline.snapshots().add(std::move(snapshot));
  timeline.begin_change();  // and never committed
  CHECK(timeline.rewind_to_match(DecodeMode::kPair, slots) == 2);
  CHECK(timeline.slots().size() == 4);
  // Half a matching pair is no match.
  CHECK(timeline.rewind_to_match(DecodeMode::kPair, std::vector<std::int32_t>{1, 2, 3, 9}) == 0);
}

int main(int argc, char** argv) { return pipo::test::run(argc, argv); }
