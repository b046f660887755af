#include "kernels/check_shapes.h"
#include "kernels/reference/reference_backend.h"

namespace pipo::kernels {

Status ReferenceBackend::embed(const PackedMatrix& table, const std::int32_t* ids, std::int32_t count, float* out) {
  const Status shapes = check_embed(table, ids, count);
  if (shapes != Status::kOk) return shapes;
  for (int i = 0; i < count; ++i) {
    const Status status = unpack_row(table, ids[i], out + static_cast<std::int64_t>(i) * table.k);
    if (status != Status::kOk) return status;
  }
  return Status::kOk;
}

}  // namespace pipo::kernels
