#include "kernels/check_shapes.h"
#include "kernels/cpu/cpu_backend.h"

namespace pipo::kernels::cpu {
namespace {

/// Elements of state touched below which waking the workers costs more than it saves.
constexpr std::int64_t kWorthSharing = 1 << 16;

}  // namespace

Status CpuBackend::delta_net(const DeltaNetShape& shape, const DeltaNetWeights& weights, float* qkv, const float* z,
                             const float* a, const float* b, std::int32_t rows, const DeltaNetState& state,
                             float* out) {
  const Status status = check_delta_net(shape, rows);
  if (status != Status::kOk || rows == 0) return status;
  const DeltaNetArgs args{&shape, &weights, qkv, z, a, b, rows, &state, out};
  const std::int64_t worker_floats = target_.delta_net_scratch(args);
  const std::size_t bytes = static_cast<std::size_t>(threads() * worker_floats) * sizeof(float);
  auto* scratch = static_cast<float*>(scratch_.reserve(bytes));
  if (scratch == nullptr) return Status::kOutOfMemory;
  const std::int64_t work = static_cast<std::int64_t>(rows) * shape.n_value_heads * shape.key_dim * shape.value_dim;
  if (work < kWorthSharing) {
    target_.delta_net_key_heads(args, 0, shape.n_key_heads, scratch);
  } else {
    pool_.parallel_for(shape.n_key_heads, [&](int head, int worker) {
      target_.delta_net_key_heads(args, head, head + 1, scratch + worker * worker_floats);
    });
  }
  return Status::kOk;
}

}  // namespace pipo::kernels::cpu
