#include "kernels/reference/reference_backend.h"
#include "kernels/reference/scalar.h"

namespace pipo::kernels {

Status ReferenceBackend::silu(std::int64_t count, float* x) {
  if (count < 0) return Status::kBadShape;
  for (std::int64_t i = 0; i < count; ++i) x[i] = reference::silu(x[i]);
  return Status::kOk;
}

Status ReferenceBackend::silu_multiply(const float* gate, const float* up, std::int64_t count, float* out) {
  if (count < 0) return Status::kBadShape;
  for (std::int64_t i = 0; i < count; ++i) out[i] = reference::silu(gate[i]) * up[i];
  return Status::kOk;
}

}  // namespace pipo::kernels
