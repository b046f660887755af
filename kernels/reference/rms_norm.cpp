#include <cmath>

#include "kernels/reference/reference_backend.h"

namespace pipo::kernels {

Status ReferenceBackend::rms_norm(const float* x, const float* w, float eps, std::int32_t rows, std::int32_t dim,
                                  float* y) {
  if (rows < 0 || dim <= 0) return Status::kBadShape;
  for (int r = 0; r < rows; ++r) {
    const std::int64_t row = static_cast<std::int64_t>(r) * dim;
    double sum = 0.0;
    for (int i = 0; i < dim; ++i) sum += static_cast<double>(x[row + i]) * x[row + i];
    const float scale = static_cast<float>(1.0 / std::sqrt(sum / dim + eps));
    for (int i = 0; i < dim; ++i) y[row + i] = x[row + i] * scale * w[i];
  }
  return Status::kOk;
}

}  // namespace pipo::kernels
