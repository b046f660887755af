#pragma once

#include <cstdint>

#include "kernels/check_shapes.h"
#include "kernels/cpu/ops/gemm.h"
#include "kernels/cpu/target.h"
#include "kernels/cpu/unroll.h"

/// The gated delta mixer, one key head and its value heads at a time: convolution, norms, delta rule, gated norm. Rows
/// are taken in chunks; a chunk costs a few small matrix products instead of one pass over the state per row. With L
/// the running sum of g inside the chunk, D_ij = e^(L_i - L_j), S the state before the chunk:
///   A = strictly-lower(beta_i k_i.k_j D_ij)         N = (I + A)^-1 (beta (V - e^L K S))
///   O = e^L Q S + lower(q_i.k_j D_ij) N             S' = e^(L_last) S + K^T (e^(L_last - L) N)
/// Every exponent is <= 0. N is found by forward substitution, so no inverse is formed.
namespace pipo::kernels::cpu::PIPO_TARGET {

inline constexpr int kChunk = 32;
/// Fewer rows than this go one by one.
inline constexpr int kSmallestChunk = 2;

/// Rows of a prefill's inputs lie far apart, out of reach of the hardware's prefetcher.
inline constexpr int kRowsPrefetched = 8;

struct DeltaNetScratch {
  float* k;             ///< [c, key_dim]
  float* q;             ///< [c, key_dim], right behind k: both are the left side of the same products
  float* v;             ///< [c, value_dim], one value head
  float* k_transposed;  ///< [key_dim, padded]
  float* dots;          ///< [2 c, padded]: k_i.k_j, then q_i.k_j
  float* weights;       ///< [2 c, padded]: -A, then lower(q_i.k_j D_ij)
  float* ks_qs;         ///< [2 c, value_dim]: K S, then Q S, which becomes O
  float* n;             ///< [c, value_dim]
  std::int64_t floats;
};

static inline DeltaNetScratch delta_net_scratch_at(const DeltaNetShape& shape, float* base) {
  std::int64_t used = 0;
  const auto take = [&](std::int64_t floats) {
    float* at = base != nullptr ? base + used : nullptr;
    used += (floats + 15) / 16 * 16;
    return at;
  };
  constexpr int c = kChunk;
  DeltaNetScratch scratch{};
  scratch.k = take(2 * c * shape.key_dim);
  scratch.v = take(c * shape.value_dim);
  scratch.k_transposed = take(c * shape.key_dim);
  scratch.dots = take(2 * c * c);
  scratch.weights = take(2 * c * c);
  scratch.ks_qs = take(2 * c * shape.value_dim);
  scratch.n = take(c * shape.value_dim);
  scratch.floats = used;
  return scratch;
}

// --- Convolution ----------------------------------------------------------------------------------------------------

static inline std::int64_t channels_of(const DeltaNetShape& shape) {
  return 2 * static_cast<std::int64_t>(shape.n_key_heads) * shape.key_dim +
         static_cast<std::int64_t>(shape.n_value_heads) * shape.value_dim;
}

/// Input of position `row`, counted from this call's first; the ones before it lie in the state.
static inline const float* conv_input(const DeltaNetArgs& args, std::int64_t row) {
  const std::int64_t channels = channels_of(*args.shape);
  return row >= 0 ? args.qkv + row * channels : args.state->conv + (args.shape->conv_kernel - 1 + row) * channels;
}

/// kTaps known at compile time, or 0: read from the shape.
template <int kTaps>
static void convolve_rows(const DeltaNetArgs& args, std::int64_t first, int width, int row, int count, float* out) {
  const std::int64_t channels = channels_of(*args.shape);
  const int taps = kTaps > 0 ? kTaps : args.shape->conv_kernel;
  const float* weights = args.weights->conv + first;
  for (int r = 0; r < count; ++r, out += width) {
    const float* inputs[kMaxConvKernel];
    for (int t = 0; t < taps; ++t) inputs[t] = conv_input(args, row + r - (taps - 1) + t) + first;
    const float* ahead = conv_input(args, smaller(row + r + kRowsPrefetched, args.rows - 1)) + first;
    for_each_vector(width, [&](std::int64_t i, int lanes) {
      prefetch(ahead + i);
      F32 sum = f32_zero();
      PIPO_UNROLL(4)
      for (int t = 0; t < taps; ++t) {
        sum = f32_fma(load_lanes(weights + t * channels + i, lanes), load_lanes(inputs[t] + i, lanes), sum);
      }
      store_lanes(out + i, f32_silu(sum), lanes);
    });
  }
}

/// Convolution and SiLU for channels [first, first + width) of rows [row, row + count). out [count, width]
static void convolve(const DeltaNetArgs& args, std::int64_t first, int width, int row, int count, float* out) {
  if (args.shape->conv_kernel == 4) {
    convolve_rows<4>(args, first, width, row, count, out);
  } else {
    convolve_rows<0>(args, first, width, row, count, out);
  }
}

/// Keeps the last inputs of channels [first, first + width).
static void advance_conv_state(const DeltaNetArgs& args, std::int64_t first, int width) {
  const std::int64_t channels = channels_of(*args.shape);
  const int older = args.shape->conv_kernel - 1;
  for (int t = 0; t < older; ++t) {
    const float* from = conv_input(args, static_cast<std::int64_t>(args.rows) - older + t) + first;
    float* to = args.state->conv + t * channels + first;
    if (from == to) continue;
    for_each_vector(width, [&](std::int64_t i, int lanes) { store_lanes(to + i, load_lanes(from + i, lanes), lanes); });
  }
}

// --- Norms ----------------------------------------------------------------------------------------------------------

/// x *= scale / sqrt(sum(x^2) + kL2Eps), per row
static void l2_norm_rows(int rows, int dim, float scale, float* x) {
  for (int r = 0; r < rows; ++r, x += dim) {
    const F32 factor = f32_set1(scale / __builtin_sqrtf(sum_of_squares(x, dim) + kL2Eps));
    for_each_vector(
        dim, [&](std::int64_t i, int lanes) { store_lanes(x + i, f32_mul(load_lanes(x + i, lanes), factor), lanes); });
  }
}

/// out = w * o * rms(o) * SiLU(z) for one row of one value head
static inline void gated_norm(const DeltaNetArgs& args, const float* o, std::int64_t row, int head) {
  const int dim = args.shape->value_dim;
  const std::int64_t offset = (row * args.shape->n_value_heads + head) * dim;
  const float mean = sum_of_squares(o, dim) / static_cast<float>(dim);
  const F32 scale = f32_set1(1.0f / __builtin_sqrtf(mean + args.shape->eps));
  const float* z = args.z + offset;
  const std::int64_t ahead = static_cast<std::int64_t>(kRowsPrefetched) * args.shape->n_value_heads * dim;
  for_each_vector(dim, [&](std::int64_t i, int lanes) {
    prefetch(z + i + ahead);
    const F32 normed = f32_mul(f32_mul(load_lanes(o + i, lanes), scale), load_lanes(args.weights->norm + i, lanes));
    store_lanes(args.out + offset + i, f32_mul(normed, f32_silu(load_lanes(z + i, lanes))), lanes);
  });
}

static inline float log_decay(const DeltaNetArgs& args, std::int64_t row, int head) {
  const float a = args.a[row * args.shape->n_value_heads + head];
  return args.weights->neg_exp_a_log[head] * scalar_softplus(a + args.weights->dt_bias[head]);
}

static inline float update_rate(const DeltaNetArgs& args, std::int64_t row, int head) {
  return scalar_sigmoid(args.b[row * args.shape->n_value_heads + head]);
}

static inline float* state_of(const DeltaNetArgs& args, int head) {
  return args.state->recurrent + static_cast<std::int64_t>(head) * args.shape->key_dim * args.shape->value_dim;
}

// --- One row --------------------------------------------------------------------------------------------------------

/// About a page of a state: the hardware's prefetcher stops at the end of each.
inline constexpr int kStateRowsAhead = 8;

struct DeltaStep {
  const float* q;  ///< [key_dim]
  const float* k;  ///< [key_dim]
  float decay, rate, q_dot_k;
};

/// recalled += S^T k and queried += S^T q for kRows rows of the state S.
template <int kRows>
static inline void recall_rows(const float* state, int dim, const float* k, const float* q, float* recalled,
                               float* queried) {
  for_each_vector(dim, [&](std::int64_t j, int lanes) {
    F32 r = load_lanes(recalled + j, lanes), o = load_lanes(queried + j, lanes);
    PIPO_UNROLL(8)
    for (int i = 0; i < kRows; ++i) {
      const float* row = state + static_cast<std::int64_t>(i) * dim + j;
      const F32 s = load_lanes(row, lanes);
      prefetch(row + static_cast<std::int64_t>(kStateRowsAhead) * dim);
      r = f32_fma(f32_set1(k[i]), s, r);
      o = f32_fma(f32_set1(q[i]), s, o);
    }
    store_lanes(recalled + j, r, lanes);
    store_lanes(queried + j, o, lanes);
  });
}

/// S <- decay S + k u^T for kRows rows of the state S.
template <int kRows>
static inline void update_rows(float* state, int dim, F32 decay, const float* k, const float* update) {
  for_each_vector(dim, [&](std::int64_t j, int lanes) {
    const F32 u = load_lanes(update + j, lanes);
    PIPO_UNROLL(8)
    for (int i = 0; i < kRows; ++i) {
      float* row = state + static_cast<std::int64_t>(i) * dim + j;
      store_lanes(row, f32_fma(f32_set1(k[i]), u, f32_mul(decay, load_lanes(row, lanes))), lanes);
    }
  });
}

/// One row of one head, state updated in place. With P = decay S and u = rate (v - P^T k):
/// S <- P + k u^T, o = P^T q + (q.k) u, so that one pass finds what both need and a second one, in the cache, writes.
/// `update` [value_dim] is scratch.
static void delta_step(const DeltaNetShape& shape, const DeltaStep& step, const float* v, float* state, float* update,
                       float* o) {
  constexpr int kRows = 8;
  const int key_dim = shape.key_dim, dim = shape.value_dim;
  const F32 decay = f32_set1(step.decay);
  for_each_vector(dim, [&](std::int64_t j, int lanes) {
    store_lanes(update + j, f32_zero(), lanes);
    store_lanes(o + j, f32_zero(), lanes);
  });
  const int whole = key_dim - key_dim % kRows;
  const auto row = [&](int i) { return state + static_cast<std::int64_t>(i) * dim; };
  for (int i = 0; i < whole; i += kRows) recall_rows<kRows>(row(i), dim, step.k + i, step.q + i, update, o);
  for (int i = whole; i < key_dim; ++i) recall_rows<1>(row(i), dim, step.k + i, step.q + i, update, o);
  for_each_vector(dim, [&](std::int64_t j, int lanes) {
    const F32 missing = f32_sub(load_lanes(v + j, lanes), f32_mul(decay, load_lanes(update + j, lanes)));
    const F32 u = f32_mul(f32_set1(step.rate), missing);
    store_lanes(o + j, f32_fma(f32_set1(step.q_dot_k), u, f32_mul(decay, load_lanes(o + j, lanes))), lanes);
    store_lanes(update + j, u, lanes);
  });
  for (int i = 0; i < whole; i += kRows) update_rows<kRows>(row(i), dim, decay, step.k + i, update);
  for (int i = whole; i < key_dim; ++i) update_rows<1>(row(i), dim, decay, step.k + i, update);
}

static inline float dot(const float* a, const float* b, int n) {
  F32 sum = f32_zero();
  for_each_vector(
      n, [&](std::int64_t i, int lanes) { sum = f32_fma(load_lanes(a + i, lanes), load_lanes(b + i, lanes), sum); });
  return f32_sum(sum);
}

static void step_value_head(const DeltaNetArgs& args, const DeltaNetScratch& s, int head, int first, int count) {
  const DeltaNetShape& shape = *args.shape;
  for (int r = 0; r < count; ++r) {
    const float* q = s.q + r * shape.key_dim;
    const float* k = s.k + r * shape.key_dim;
    const DeltaStep step{q, k, __builtin_expf(log_decay(args, first + r, head)), update_rate(args, first + r, head),
                         dot(q, k, shape.key_dim)};
    delta_step(shape, step, s.v + r * shape.value_dim, state_of(args, head), s.ks_qs, s.n);
    gated_norm(args, s.n, first + r, head);
  }
}

// --- A chunk of rows ------------------------------------------------------------------------------------------------

/// k [count, dim] -> [dim, padded], zeros behind column `count`
static void transpose_keys(const float* k, int count, int dim, int padded, float* out) {
  for (int i = 0; i < dim; ++i) {
    float* row = out + static_cast<std::int64_t>(i) * padded;
    for (int r = 0; r < count; ++r) row[r] = k[static_cast<std::int64_t>(r) * dim + i];
    for (int r = count; r < padded; ++r) row[r] = 0.0f;
  }
}

/// Row i of both triangular matrices: dots times e^(L_i - L_j), below the diagonal times `minus_rate` and up to it.
static inline void weigh_rows(const double* sums, int i, int padded, float minus_rate, const float* key_dots,
                              const float* query_dots, float* minus_a, float* p) {
  float exponents[kChunk];
  const int used = round_up(i + 1, kLanes);
  for (int j = 0; j < used; ++j) exponents[j] = static_cast<float>(sums[i] - sums[j <= i ? j : i]);
  for (int j = 0; j < used; j += kLanes) {
    const F32 decay = f32_exp(f32_load(exponents + j));
    f32_store(minus_a + j, f32_mul(f32_mul(decay, f32_set1(minus_rate)), f32_load(key_dots + j)));
    f32_store(p + j, f32_mul(decay, f32_load(query_dots + j)));
  }
  for (int j = i; j < padded; ++j) minus_a[j] = 0.0f;
  for (int j = i + 1; j < padded; ++j) p[j] = 0.0f;
}

/// n_i <- n_i + sum_{j < i} minus_a_ij n_j, top to bottom. minus_a [count, padded], n [count, dim]
static void substitute_forward(const float* minus_a, int count, int padded, int dim, float* n) {
  for (int i = 1; i < count; ++i) {
    float* row = n + static_cast<std::int64_t>(i) * dim;
    gemm(LeftMatrix{minus_a + i * padded, 0, 1}, RightMatrix<float>{n, dim}, 1, dim, i, 1.0f, row, dim);
  }
}

static void chunk_value_head(const DeltaNetArgs& args, const DeltaNetScratch& s, int head, int first, int c) {
  const DeltaNetShape& shape = *args.shape;
  const int key_dim = shape.key_dim, value_dim = shape.value_dim, padded = round_up(c, kLanes);
  double sums[kChunk];  // differences of long sums stay exact enough in double
  float minus_rates[kChunk];
  double sum = 0.0;
  for (int i = 0; i < c; ++i) {
    sums[i] = sum += log_decay(args, first + i, head);
    minus_rates[i] = -update_rate(args, first + i, head);
  }
  float* minus_a = s.weights;
  float* p = s.weights + c * padded;
  for (int i = 0; i < c; ++i) {
    weigh_rows(sums, i, padded, minus_rates[i], s.dots + i * padded, s.dots + (c + i) * padded, minus_a + i * padded,
               p + i * padded);
  }

  float* state = state_of(args, head);
  gemm({s.k, key_dim, 1}, RightMatrix<float>{state, value_dim}, 2 * c, value_dim, key_dim, 0.0f, s.ks_qs, value_dim);
  float* o = s.ks_qs + static_cast<std::int64_t>(c) * value_dim;
  for (int i = 0; i < c; ++i) {
    const F32 decay = f32_set1(__builtin_expf(static_cast<float>(sums[i]))), minus_rate = f32_set1(minus_rates[i]);
    const float* ks = s.ks_qs + static_cast<std::int64_t>(i) * value_dim;
    const float* v = s.v + static_cast<std::int64_t>(i) * value_dim;
    float* n = s.n + static_cast<std::int64_t>(i) * value_dim;
    float* row = o + static_cast<std::int64_t>(i) * value_dim;
    for_each_vector(value_dim, [&](std::int64_t j, int lanes) {
      const F32 excess = f32_fma(decay, load_lanes(ks + j, lanes), negate(load_lanes(v + j, lanes)));
      store_lanes(n + j, f32_mul(minus_rate, excess), lanes);
      store_lanes(row + j, f32_mul(decay, load_lanes(row + j, lanes)), lanes);
    });
  }
  substitute_forward(minus_a, c, padded, value_dim, s.n);
  gemm({p, padded, 1}, RightMatrix<float>{s.n, value_dim}, c, value_dim, c, 1.0f, o, value_dim);
  for (int i = 0; i < c; ++i) {
    gated_norm(args, o + static_cast<std::int64_t>(i) * value_dim, first + i, head);
    const F32 rest = f32_set1(__builtin_expf(static_cast<float>(sums[c - 1] - sums[i])));
    float* n = s.n + static_cast<std::int64_t>(i) * value_dim;
    for_each_vector(value_dim, [&](std::int64_t j, int lanes) {
      store_lanes(n + j, f32_mul(rest, load_lanes(n + j, lanes)), lanes);
    });
  }
  gemm({s.k, 1, key_dim}, RightMatrix<float>{s.n, value_dim}, key_dim, value_dim, c,
       __builtin_expf(static_cast<float>(sums[c - 1])), state, value_dim);
}

// --- One key head ---------------------------------------------------------------------------------------------------

static void mix_rows(const DeltaNetArgs& args, DeltaNetScratch& s, int key_head, int first, int count) {
  const DeltaNetShape& shape = *args.shape;
  const std::int64_t key_width = static_cast<std::int64_t>(shape.n_key_heads) * shape.key_dim;
  const int group = shape.n_value_heads / shape.n_key_heads;
  const std::int64_t key_channel = static_cast<std::int64_t>(key_head) * shape.key_dim;
  s.q = s.k + static_cast<std::int64_t>(count) * shape.key_dim;
  convolve(args, key_channel, shape.key_dim, first, count, s.q);
  convolve(args, key_width + key_channel, shape.key_dim, first, count, s.k);
  l2_norm_rows(count, shape.key_dim, 1.0f / __builtin_sqrtf(static_cast<float>(shape.key_dim)), s.q);
  l2_norm_rows(count, shape.key_dim, 1.0f, s.k);
  const bool one_by_one = count < kSmallestChunk;
  if (!one_by_one) {
    const int padded = round_up(count, kLanes);
    transpose_keys(s.k, count, shape.key_dim, padded, s.k_transposed);
    gemm({s.k, shape.key_dim, 1}, RightMatrix<float>{s.k_transposed, padded}, 2 * count, padded, shape.key_dim, 0.0f,
         s.dots, padded);
  }
  for (int head = key_head * group; head < (key_head + 1) * group; ++head) {
    const std::int64_t value_channel = 2 * key_width + static_cast<std::int64_t>(head) * shape.value_dim;
    convolve(args, value_channel, shape.value_dim, first, count, s.v);
    if (one_by_one) {
      step_value_head(args, s, head, first, count);
    } else {
      chunk_value_head(args, s, head, first, count);
    }
  }
}

static void advance_conv_states(const DeltaNetArgs& args, int key_head) {
  const DeltaNetShape& shape = *args.shape;
  const std::int64_t key_width = static_cast<std::int64_t>(shape.n_key_heads) * shape.key_dim;
  const int group = shape.n_value_heads / shape.n_key_heads;
  const std::int64_t key_channel = static_cast<std::int64_t>(key_head) * shape.key_dim;
  advance_conv_state(args, key_channel, shape.key_dim);
  advance_conv_state(args, key_width + key_channel, shape.key_dim);
  advance_conv_state(args, 2 * key_width + static_cast<std::int64_t>(key_head) * group * shape.value_dim,
                     group * shape.value_dim);
}

static std::int64_t delta_net_scratch(const DeltaNetArgs& args) {
  return delta_net_scratch_at(*args.shape, nullptr).floats;
}

static void delta_net_key_heads(const DeltaNetArgs& args, std::int32_t begin, std::int32_t end, float* scratch) {
  DeltaNetScratch s = delta_net_scratch_at(*args.shape, scratch);
  for (int key_head = begin; key_head < end; ++key_head) {
    for (int first = 0; first < args.rows; first += kChunk) {
      mix_rows(args, s, key_head, first, args.rows - first < kChunk ? args.rows - first : kChunk);
    }
    advance_conv_states(args, key_head);
  }
}

}  // namespace pipo::kernels::cpu::PIPO_TARGET
