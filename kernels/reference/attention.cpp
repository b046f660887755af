#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/check_shapes.h"
#include "kernels/reference/reference_backend.h"
#include "kernels/reference/scalar.h"

namespace pipo::kernels {
namespace {

using reference::from_bf16;
using reference::sigmoid;
using reference::to_bf16;

void store(void* rows, KvType type, std::int64_t index, float value) {
  if (type == KvType::kF32) {
    static_cast<float*>(rows)[index] = value;
  } else {
    static_cast<std::uint16_t*>(rows)[index] = to_bf16(value);
  }
}

float load(const void* rows, KvType type, std::int64_t index) {
  return type == KvType::kF32 ? static_cast<const float*>(rows)[index]
                              : from_bf16(static_cast<const std::uint16_t*>(rows)[index]);
}

/// x * rms(x) * w over `dim`
void norm(const float* x, const float* w, int dim, float eps, float* out) {
  double sum = 0.0;
  for (int i = 0; i < dim; ++i) sum += static_cast<double>(x[i]) * x[i];
  const float scale = static_cast<float>(1.0 / std::sqrt(sum / dim + eps));
  for (int i = 0; i < dim; ++i) out[i] = x[i] * scale * w[i];
}

/// x [head_dim] -> RoPE(norm(x; w)) for one position; w null: RoPE(x). Element i turns with element i + rotary_dim / 2.
void norm_and_rotate(const AttentionShape& shape, const float* x, const float* w, const float* inv_freq, int position,
                     float* out) {
  if (w != nullptr) {
    norm(x, w, shape.head_dim, shape.eps, out);
  } else {
    std::copy_n(x, shape.head_dim, out);
  }
  const int half = shape.rotary_dim / 2;
  for (int i = 0; i < half; ++i) {
    // Positions reach 10^5 and more, where the product in fp32 would be off by almost 10^-2 radians.
    const double angle = static_cast<double>(position) * inv_freq[i];
    const float cosine = static_cast<float>(shape.rotary_scale * std::cos(angle));
    const float sine = static_cast<float>(shape.rotary_scale * std::sin(angle));
    const float low = out[i], high = out[i + half];
    out[i] = low * cosine - high * sine;
    out[i + half] = high * cosine + low * sine;
  }
}

/// One query head over cache positions [first, last] of its kv head. `out` [head_dim], without the gate.
void attend(const AttentionShape& shape, const float* q, const KvCache& cache, int kv_head, int first, int last,
            float* out) {
  const int dim = shape.head_dim;
  const auto index = [&](std::int64_t position) { return (position * shape.n_kv_heads + kv_head) * dim; };
  const double scale = shape.softmax_scale != 0.0f ? shape.softmax_scale : 1.0 / std::sqrt(static_cast<double>(dim));
  std::vector<double> weights(last - first + 1);
  for (int p = first; p <= last; ++p) {
    double score = 0.0;
    for (int i = 0; i < dim; ++i) score += static_cast<double>(q[i]) * load(cache.keys, cache.type, index(p) + i);
    weights[p - first] = score * scale;
  }
  const double largest = *std::max_element(weights.begin(), weights.end());
  double total = 0.0;
  for (double& weight : weights) total += weight = std::exp(weight - largest);
  std::vector<double> sum(dim, 0.0);
  for (int p = first; p <= last; ++p) {
    for (int i = 0; i < dim; ++i) sum[i] += weights[p - first] * load(cache.values, cache.type, index(p) + i);
  }
  for (int i = 0; i < dim; ++i) out[i] = static_cast<float>(sum[i] / total);
}

}  // namespace

Status ReferenceBackend::attention_prepare(const AttentionShape& shape, const float* q, const float* k, const float* v,
                                           const float* q_norm, const float* k_norm, const float* inv_freq,
                                           std::int32_t first_position, std::int32_t rows, const KvCache& cache,
                                           float* q_out, float* gate_out) {
  const Status shapes = check_attention(shape, cache, first_position, first_position, rows);
  if (shapes != Status::kOk) return shapes;
  const int dim = shape.head_dim;
  std::vector<float> key(dim);
  for (int r = 0; r < rows; ++r) {
    const int position = first_position + r;
    for (int h = 0; h < shape.n_kv_heads; ++h) {
      const std::int64_t from = (static_cast<std::int64_t>(r) * shape.n_kv_heads + h) * dim;
      const std::int64_t to = (static_cast<std::int64_t>(position) * shape.n_kv_heads + h) * dim;
      norm_and_rotate(shape, k + from, k_norm, inv_freq, position, key.data());
      for (int i = 0; i < dim; ++i) store(cache.keys, cache.type, to + i, key[i]);
      for (int i = 0; i < dim; ++i) store(cache.values, cache.type, to + i, v[from + i]);
    }
    if (q == nullptr) continue;
    for (int h = 0; h < shape.n_heads; ++h) {
      const std::int64_t head = static_cast<std::int64_t>(r) * shape.n_heads + h;
      const float* query = q + head * dim * (shape.output_gate ? 2 : 1);
      norm_and_rotate(shape, query, q_norm, inv_freq, position, q_out + head * dim);
      if (shape.output_gate) std::copy_n(query + dim, dim, gate_out + head * dim);
    }
  }
  return Status::kOk;
}

Status ReferenceBackend::attention(const AttentionShape& shape, const float* q, const float* gate, const KvCache& cache,
                                   std::int32_t first_visible, std::int32_t first_position, std::int32_t rows,
                                   float* out) {
  const Status shapes = check_attention(shape, cache, first_visible, first_position, rows);
  if (shapes != Status::kOk) return shapes;
  const int group = shape.n_heads / shape.n_kv_heads;
  std::vector<float> head_out(shape.head_dim);
  for (int r = 0; r < rows; ++r) {
    for (int h = 0; h < shape.n_heads; ++h) {
      const std::int64_t head = (static_cast<std::int64_t>(r) * shape.n_heads + h) * shape.head_dim;
      attend(shape, q + head, cache, h / group, first_visible, first_position + r, head_out.data());
      for (int i = 0; i < shape.head_dim; ++i) {
        out[head + i] = gate != nullptr ? head_out[i] * sigmoid(gate[head + i]) : head_out[i];
      }
    }
  }
  return Status::kOk;
}

}  // namespace pipo::kernels
