#include "kernels/cuda/engine/session.h"

#include <cstring>

namespace pipo::cuda {
namespace {

constexpr std::int64_t kPinnedBytes = kRing * sizeof(StepRecord) + sizeof(int);

}  // namespace

Session::Session(Model& model)
    : model_(model),
      states_memory_(States::bytes(model.config())),
      request_device_memory_(RequestMemory::bytes(model.config())),
      pinned_(kPinnedBytes),
      states_(model.config(), states_memory_.get()),
      planes_(static_cast<std::size_t>(2 * count_caches(model.config()))) {
  static_assert(sizeof(StepState) + sizeof(SampleRequest) <= kStepStateBytes);
  Layout layout(request_device_memory_.get());
  request_memory_ = RequestMemory(model.config(), layout);
  std::memset(pinned_.get(), 0, kPinnedBytes);
  clear();
}

Session::~Session() { runtime::synchronize(model_.queue().stream); }

KvPlanes Session::kv(int place) const {
  const auto at = static_cast<std::size_t>(2 * place);
  return {planes_[at].get(), planes_[at + 1].get()};
}

/// Plane by plane, so that old and new never lie side by side as a whole.
void Session::reserve(int positions, int used) {
  if (positions <= capacity_) return;
  const PipoCudaConfig& c = model_.config();
  const Stream stream = model_.queue().stream;
  graphs_.clear();
  const std::int64_t row_bytes = std::int64_t{c.n_kv_heads} * c.head_dim * (c.kv_type == 0 ? 4 : 2);
  for (DeviceMemory& plane : planes_) {
    if (plane.bytes() >= plane_bytes(c, positions)) continue;
    DeviceMemory bigger(plane_bytes(c, positions));
    if (used > 0) check(runtime::copy(bigger.get(), plane.get(), used * row_bytes, stream), "move keys and values");
    check(runtime::synchronize(stream), "move keys and values");
    plane = std::move(bigger);
  }
  capacity_ = positions;
}

void Session::clear() {
  const std::int64_t bytes = States::bytes(model_.config());
  check(runtime::fill(states_.base(), 0, bytes, model_.queue().stream), "clear states");
}

void Session::restore(const Snapshot& from) {
  const std::int64_t bytes = States::bytes(model_.config());
  check(runtime::copy(states_.base(), from.states().base(), bytes, model_.queue().stream), "restore a snapshot");
}

}  // namespace pipo::cuda
