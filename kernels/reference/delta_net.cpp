#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/check_shapes.h"
#include "kernels/reference/reference_backend.h"
#include "kernels/reference/scalar.h"

namespace pipo::kernels {
namespace {

/// Causal depthwise convolution and SiLU for one position; `history` [conv_kernel - 1, channels] moves on by one input.
void convolve(const DeltaNetShape& shape, const float* taps, const float* input, float* history, float* out) {
  const int channels = shape.channels(), older = shape.conv_kernel - 1;
  for (int c = 0; c < channels; ++c) {
    float sum = taps[older * channels + c] * input[c];
    for (int t = 0; t < older; ++t) sum += taps[t * channels + c] * history[t * channels + c];
    out[c] = reference::silu(sum);
  }
  if (older == 0) return;
  std::copy(history + channels, history + older * channels, history);
  std::copy_n(input, channels, history + (older - 1) * channels);
}

/// x *= scale / sqrt(sum(x^2) + kL2Eps)
void l2_norm(float* x, int dim, float scale) {
  double sum = 0.0;
  for (int i = 0; i < dim; ++i) sum += static_cast<double>(x[i]) * x[i];
  const float factor = static_cast<float>(scale / std::sqrt(sum + kL2Eps));
  for (int i = 0; i < dim; ++i) x[i] *= factor;
}

/// One step of the delta rule for one value head; s [key_dim, value_dim].
/// P = decay S; u = beta (v - P^T k); S = P + k u^T; o = S^T q.
void delta_step(int key_dim, int value_dim, const float* q, const float* k, const float* v, float decay, float beta,
                float* s, float* o) {
  for (int i = 0; i < key_dim * value_dim; ++i) s[i] *= decay;
  for (int j = 0; j < value_dim; ++j) {
    float recalled = 0.0f;
    for (int i = 0; i < key_dim; ++i) recalled += s[i * value_dim + j] * k[i];
    const float update = beta * (v[j] - recalled);
    float sum = 0.0f;
    for (int i = 0; i < key_dim; ++i) {
      s[i * value_dim + j] += k[i] * update;
      sum += s[i * value_dim + j] * q[i];
    }
    o[j] = sum;
  }
}

/// o = w * o * rms(o) * SiLU(z)
void gated_norm(int dim, const float* w, const float* z, float eps, float* o) {
  double sum = 0.0;
  for (int i = 0; i < dim; ++i) sum += static_cast<double>(o[i]) * o[i];
  const float scale = static_cast<float>(1.0 / std::sqrt(sum / dim + eps));
  for (int i = 0; i < dim; ++i) o[i] = w[i] * o[i] * scale * reference::silu(z[i]);
}

}  // namespace

Status ReferenceBackend::delta_net(const DeltaNetShape& shape, const DeltaNetWeights& weights, float* qkv,
                                   const float* z, const float* a, const float* b, std::int32_t rows,
                                   const DeltaNetState& state, float* out) {
  const Status shapes = check_delta_net(shape, rows);
  if (shapes != Status::kOk) return shapes;
  const int key_dim = shape.key_dim, value_dim = shape.value_dim;
  const int group = shape.n_value_heads / shape.n_key_heads;
  const float q_scale = 1.0f / std::sqrt(static_cast<float>(key_dim));
  std::vector<float> mixed(shape.channels());
  for (std::int64_t r = 0; r < rows; ++r) {
    convolve(shape, weights.conv, qkv + r * shape.channels(), state.conv, mixed.data());
    float* q = mixed.data();
    float* k = q + shape.key_width();
    const float* v = k + shape.key_width();
    for (int h = 0; h < shape.n_key_heads; ++h) {
      l2_norm(q + h * key_dim, key_dim, q_scale);
      l2_norm(k + h * key_dim, key_dim, 1.0f);
    }
    for (int n = 0; n < shape.n_value_heads; ++n) {
      const std::int64_t head = r * shape.n_value_heads + n;
      const float beta = reference::sigmoid(b[head]);
      const float g = weights.neg_exp_a_log[n] * reference::softplus(a[head] + weights.dt_bias[n]);
      const int key_offset = n / group * key_dim;
      float* s = state.recurrent + static_cast<std::int64_t>(n) * key_dim * value_dim;
      float* o = out + head * value_dim;
      delta_step(key_dim, value_dim, q + key_offset, k + key_offset, v + n * value_dim, std::exp(g), beta, s, o);
      gated_norm(value_dim, weights.norm, z + head * value_dim, shape.eps, o);
    }
  }
  return Status::kOk;
}

}  // namespace pipo::kernels
