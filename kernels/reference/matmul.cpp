#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/check_shapes.h"
#include "kernels/packed_layout.h"
#include "kernels/reference/reference_backend.h"

namespace pipo::kernels {
namespace {

constexpr int kActivationGroup = 32;

/// x [k] as quantised weights see it: rounded to int8 with one scale per 32, then back to fp32 steps of that scale.
void quantise_activations(const float* x, int k, float* out) {
  for (int begin = 0; begin < k; begin += kActivationGroup) {
    const int end = std::min(k, begin + kActivationGroup);
    float largest = 0.0f;
    bool finite = true;
    for (int i = begin; i < end; ++i) {
      largest = std::max(largest, std::fabs(x[i]));
      finite = finite && std::isfinite(x[i]);
    }
    if (!finite) {
      std::fill(out + begin, out + end, NAN);
      continue;
    }
    const bool vanishes = largest < 1e-35f;  // 127 / largest would overflow
    const float scale = vanishes ? 0.0f : largest / 127.0f;
    const float inverse = vanishes ? 0.0f : 127.0f / largest;
    for (int i = begin; i < end; ++i) out[i] = scale * std::nearbyint(x[i] * inverse);
  }
}

float dot(const float* a, const float* b, int n) {
  double sum = 0.0;
  for (int i = 0; i < n; ++i) sum += static_cast<double>(a[i]) * b[i];
  return static_cast<float>(sum);
}

/// x, x_quantised [m, k], contiguous.
Status multiply(const MatmulTerm& term, int m, const std::vector<float>& x, const std::vector<float>& x_quantised) {
  const PackedMatrix& w = *term.w;
  const std::vector<float>& input = layout::is_quantised(w.type) ? x_quantised : x;
  std::vector<float> row(w.k);
  for (int n = 0; n < w.n; ++n) {
    const Status status = unpack_row(w, n, row.data());
    if (status != Status::kOk) return status;
    for (int i = 0; i < m; ++i) {
      float* y = term.y + i * term.y_stride + n;
      const float bias = term.bias != nullptr ? term.bias[n] : 0.0f;
      const float before = term.accumulate ? *y : 0.0f;
      *y = dot(row.data(), input.data() + static_cast<std::int64_t>(i) * w.k, w.k) + bias + before;
    }
  }
  return Status::kOk;
}

}  // namespace

Status ReferenceBackend::matmul(const float* x, std::int64_t x_stride, std::int32_t m, const MatmulTerm* terms,
                                std::int32_t n_terms) {
  const Status shapes = check_matmul(x_stride, m, terms, n_terms);
  if (shapes != Status::kOk || m == 0) return shapes;
  const int k = terms[0].w->k;
  // Copied first, so that an output may overwrite its input.
  std::vector<float> plain(static_cast<std::size_t>(m) * k), quantised(plain.size());
  for (int i = 0; i < m; ++i) {
    std::copy_n(x + i * x_stride, k, plain.data() + static_cast<std::int64_t>(i) * k);
    quantise_activations(x + i * x_stride, k, quantised.data() + static_cast<std::int64_t>(i) * k);
  }
  for (int t = 0; t < n_terms; ++t) {
    const Status status = multiply(terms[t], m, plain, quantised);
    if (status != Status::kOk) return status;
  }
  return Status::kOk;
}

}  // namespace pipo::kernels
