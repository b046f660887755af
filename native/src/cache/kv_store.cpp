#include "cache/kv_store.h"

#include <cstring>

#include "cache/timeline_states.h"

namespace pipo {

KvStore::KvStore(const StateShape& shape)
    : shape_(shape), n_planes_(2 * (shape.n_attention_layers + (shape.has_draft_head ? 1 : 0))) {}

void KvStore::reserve(std::int32_t positions, std::int32_t used, std::int32_t max_positions) {
  if (positions <= capacity_) return;
  const std::int32_t grown = TimelineStates::grown(capacity_, positions, max_positions);
  AlignedBuffer<std::byte> bigger(n_planes_ * plane_bytes(grown));
  for (std::int32_t plane = 0; plane < n_planes_ && used > 0; ++plane) {
    std::memcpy(bigger.data() + plane * plane_bytes(grown), memory_.data() + plane * plane_bytes(capacity_),
                plane_bytes(used));
  }
  memory_ = std::move(bigger);
  capacity_ = grown;
}

kernels::KvCache KvStore::layer(std::int32_t index) {
  std::byte* keys = memory_.data() + 2 * index * plane_bytes(capacity_);
  return {keys, keys + plane_bytes(capacity_), shape_.kv_type, capacity_};
}

}  // namespace pipo
