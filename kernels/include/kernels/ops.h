#pragma once

#include <cstdint>

#include "kernels/packed_matrix.h"
#include "kernels/status.h"

namespace pipo::kernels {

/// One product of a group that shares its input: `y = W x (+ bias) (+ y)`.
struct MatmulTerm {
  const PackedMatrix* w = nullptr;
  const float* bias = nullptr;  ///< [n] or null
  float* y = nullptr;           ///< [m, n] with row stride `y_stride`
  std::int64_t y_stride = 0;    ///< in floats
  bool accumulate = false;      ///< add to y instead of overwriting it (residual sums)
};

enum class KvType : std::uint8_t { kF32 = 0, kBf16 = 1 };

/// Keys (after norm and rotary embedding) and values of one attention layer, `[capacity, n_kv_heads, head_dim]` each.
struct KvCache {
  void* keys = nullptr;
  void* values = nullptr;
  KvType type = KvType::kBf16;
  std::int32_t capacity = 0;  ///< positions
};

struct AttentionShape {
  std::int32_t n_heads = 0;
  std::int32_t n_kv_heads = 0;
  std::int32_t head_dim = 0;
  std::int32_t rotary_dim = 0;  ///< even, <= head_dim; the rest passes through unrotated
  float eps = 1e-6f;            ///< of the norms of queries and keys
  bool output_gate = true;      ///< each query head brings a gate for its result
  float softmax_scale = 0.0f;   ///< 0: head_dim^-0.5
  float rotary_scale = 1.0f;    ///< factor of the rotation's cosines and sines (YaRN)
};

/// The L2 norm of q and k in the gated delta layer has its own constant, whatever the model's norms use.
inline constexpr float kL2Eps = 1e-6f;

struct DeltaNetShape {
  std::int32_t n_key_heads = 0;
  std::int32_t n_value_heads = 0;  ///< a multiple of n_key_heads; value head n reads key head n / (n_value / n_key)
  std::int32_t key_dim = 0;
  std::int32_t value_dim = 0;
  std::int32_t conv_kernel = 4;
  float eps = 1e-6f;  ///< of the gated norm

  std::int32_t key_width() const { return n_key_heads * key_dim; }
  std::int32_t value_width() const { return n_value_heads * value_dim; }
  /// Channels of the convolution: q | k | v, head-major.
  std::int32_t channels() const { return 2 * key_width() + value_width(); }
};

/// Weights of one gated delta layer besides its projections. All fp32.
struct DeltaNetWeights {
  const float* conv = nullptr;           ///< [conv_kernel, channels], last tap multiplies the newest input
  const float* neg_exp_a_log = nullptr;  ///< [n_value_heads], -exp(A_log)
  const float* dt_bias = nullptr;        ///< [n_value_heads]
  const float* norm = nullptr;           ///< [value_dim]
};

/// Mutable state of one gated delta layer of one session. All fp32.
struct DeltaNetState {
  float* recurrent = nullptr;  ///< [n_value_heads, key_dim, value_dim]
  float* conv = nullptr;       ///< [conv_kernel - 1, channels], oldest first, inputs before activation
};

/// The operations of a decoder. One implementation per backend; a missing one does not compile.
/// Activations are fp32, row-major and contiguous unless a stride is given. `rows` are positions in order.
/// Operations of one object are issued from one thread at a time; they may use the backend's workers inside.
class Ops {
 public:
  virtual ~Ops() = default;

  /// Y_t = W_t X for every term; all terms share X [m, k] and k. Quantised weights see X rounded to int8 in groups of
  /// 32 (x_scale = max|x| / 127, q = round_to_even(x * (127 / max|x|)); a group below 1e-35 counts as zero, one with a
  /// value that is not finite as NaN), fp32 accumulation between groups. bf16 weights see X in fp32 or bf16 pairs.
  virtual Status matmul(const float* x, std::int64_t x_stride, std::int32_t m, const MatmulTerm* terms,
                        std::int32_t n_terms) = 0;

  /// out[i] = row ids[i] of `table`, dequantised. out [count, k].
  virtual Status embed(const PackedMatrix& table, const std::int32_t* ids, std::int32_t count, float* out) = 0;

  /// y = x * rsqrt(mean(x^2) + eps) * w, per row of `dim`. In place allowed.
  virtual Status rms_norm(const float* x, const float* w, float eps, std::int32_t rows, std::int32_t dim, float* y) = 0;

  /// x = SiLU(x), elementwise.
  virtual Status silu(std::int64_t count, float* x) = 0;

  /// out = SiLU(gate) * up, elementwise; out may alias either.
  virtual Status silu_multiply(const float* gate, const float* up, std::int64_t count, float* out) = 0;

  /// Norms and rotates queries and keys and stores K/V rows at `first_position...`.
  /// q [rows, n_heads, 2 * head_dim] holds query and gate per head, or without output_gate [rows, n_heads, head_dim]
  /// the query alone; k, v [rows, n_kv_heads, head_dim]; q_norm, k_norm [head_dim], null: no norm;
  /// inv_freq [rotary_dim / 2]; half-split rotation. q_out [rows, n_heads, head_dim] must not overlap q; gate_out the
  /// same, unused without output_gate. With q null only K/V rows are written.
  virtual Status attention_prepare(const AttentionShape& shape, const float* q, const float* k, const float* v,
                                   const float* q_norm, const float* k_norm, const float* inv_freq,
                                   std::int32_t first_position, std::int32_t rows, const KvCache& cache, float* q_out,
                                   float* gate_out) = 0;

  /// Causal attention over cache positions [first_visible, first_position + r] for row r, each head's result times
  /// sigmoid(gate); gate null: as it is. out [rows, n_heads, head_dim].
  virtual Status attention(const AttentionShape& shape, const float* q, const float* gate, const KvCache& cache,
                           std::int32_t first_visible, std::int32_t first_position, std::int32_t rows, float* out) = 0;

  /// The whole gated delta mixer between its projections: causal depthwise convolution and SiLU over qkv, L2 norm of q
  /// and k (q times key_dim^-0.5), beta = sigmoid(b), g = neg_exp_a_log * softplus(a + dt_bias), the delta rule (S <-
  /// e^g S + k (beta (v - (e^g S)^T k))^T, o = S^T q), then norm.w * rms(o) * SiLU(z). qkv [rows, channels] (may be
  /// overwritten), z [rows, value_width], a, b [rows, n_value_heads], out [rows, value_width]. State is advanced by
  /// `rows` positions. Strides in floats.
  virtual Status delta_net(const DeltaNetShape& shape, const DeltaNetWeights& weights, float* qkv, const float* z,
                           const float* a, const float* b, std::int32_t rows, const DeltaNetState& state,
                           float* out) = 0;
};

}  // namespace pipo::kernels
