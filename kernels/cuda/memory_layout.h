#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/cuda/sample_request.h"
#include "kernels/cuda_api.h"

/// Where everything lies in device memory, apart from weights: the plan counts and the engine allocates with the same
/// code. Needs no CUDA header.
namespace pipo::cuda {

/// Rows of one prefill chunk.
inline constexpr int kChunkRows = 1024;
/// Parts in which weights travel to the device; two are under way.
inline constexpr std::int64_t kStagingBytes = 16 << 20;
inline constexpr int kMostStopIds = 1024;
inline constexpr std::int64_t kStepStateBytes = 1024;
inline constexpr int kMostPartials = 64;  ///< shares of one attention head's positions

constexpr std::int64_t aligned(std::int64_t bytes) { return (bytes + 255) / 256 * 256; }

/// Inputs of a product in bf16, padded as the widest rows of weights are.
constexpr std::int64_t padded_width(std::int64_t k) { return (k + 511) / 512 * 512; }

/// Hands out neighbouring parts of one allocation; without one it only counts.
class Layout {
 public:
  explicit Layout(void* base = nullptr) : base_(static_cast<unsigned char*>(base)) {}

  template <class T>
  T* take(std::int64_t count) {
    const std::int64_t at = at_;
    at_ += aligned(count * static_cast<std::int64_t>(sizeof(T)));
    end_ = std::max(end_, at_);
    return base_ == nullptr ? nullptr : reinterpret_cast<T*>(base_ + at);
  }
  std::int64_t mark() const { return at_; }
  /// What is taken from here on shares its memory with what was taken since `mark`.
  void rewind(std::int64_t mark) { at_ = mark; }
  std::int64_t bytes() const { return end_; }

 private:
  unsigned char* base_;
  std::int64_t at_ = 0, end_ = 0;
};

/// Widths of a model's vectors.
struct Widths {
  explicit Widths(const PipoCudaConfig& c)
      : hidden(c.hidden_size),
        inner(c.intermediate_size),
        attention(std::int64_t{c.n_heads} * c.head_dim),
        kv(std::int64_t{c.n_kv_heads} * c.head_dim),
        value(std::int64_t{c.n_value_heads} * c.value_dim),
        channels(2 * std::int64_t{c.n_key_heads} * c.key_dim + value) {}

  std::int64_t hidden, inner, attention, kv, value, channels;
};

/// What the kernels' own delta_scratch_bytes says of a chunk. They do with less, more slowly.
inline std::int64_t delta_chunk_bytes(const PipoCudaConfig& c) {
  const bool in_chunks = c.key_dim == c.value_dim && (c.key_dim == 64 || c.key_dim == 128);
  return in_chunks ? std::int64_t{kChunkRows / 64} * c.n_value_heads * (64 * 64 + 2 * 64) * 4 : 0;
}

/// Counters and partial sums of products that cut k, see Queue::workspace.
inline constexpr std::int64_t kProductBytes = 4 * 4096 + (16 << 20);

/// Partial results of attention over many rows, on devices with up to so many multiprocessors.
inline constexpr int kMostMultiprocessors = 192;
inline std::int64_t shared_attention_bytes(const PipoCudaConfig& c, int multiprocessors) {
  return std::int64_t{multiprocessors} * 128 * (c.head_dim + 2) * 4;
}

/// Activations of one chunk or step. One per model: sessions use it in turns.
struct Workspace {
  // R = kChunkRows, H = hidden size; fp32 where nothing else is said.
  float* x = nullptr;               ///< [R, H] residual stream
  float* hidden = nullptr;          ///< [R + 1, H], row 0 is the position before the chunk
  float* draft = nullptr;           ///< [R, H] draft hidden vectors
  std::uint16_t* inputs = nullptr;  ///< [R, widest input] bf16 rows of a product
  std::int32_t* words = nullptr;    ///< [4 R + 8] ids and positions
  float* inv_freq = nullptr;        ///< [rotary_dim / 2]
  float* rotation = nullptr;        ///< [2, rotary_dim] of the backbone's position and the draft head's
  float* partial = nullptr;         ///< [n_heads, kMostPartials, head_dim + 2]
  std::int32_t* arrived = nullptr;  ///< [n_kv_heads], zero between launches
  float* shared_attention = nullptr;  ///< the same of many rows
  void* products = nullptr;           ///< Queue::workspace, zeros before the first use
  float* logits = nullptr;          ///< [V]
  float* scalar = nullptr;          ///< [1]
  void* sampling = nullptr;         ///< SampleArgs::scratch, zeros before the first use

  // The rest shares memory: one group is in use at a time.
  float* embeddings = nullptr;   ///< [2 R, H] = [R, 2 H]
  float* inner = nullptr;        ///< [R, 2 H] inside the compressor and the confidence head
  float* q_gate = nullptr;       ///< [R, 2 attention]
  float* k = nullptr;            ///< [R, kv]
  float* v = nullptr;            ///< [R, kv]
  float* attended = nullptr;     ///< [R, attention]
  std::uint16_t* queries = nullptr;  ///< [R, attention] bf16
  float* qkv = nullptr;          ///< [R, channels]
  float* z = nullptr;            ///< [R, value]
  float* a = nullptr;            ///< [R, n_value_heads]
  float* b = nullptr;            ///< [R, n_value_heads]
  float* mixed = nullptr;        ///< [R, channels]
  float* gates = nullptr;        ///< [R, 2 n_value_heads]
  float* recalled = nullptr;     ///< [R, value] the delta rule's output
  void* delta_scratch = nullptr;
  float* mlp_gate = nullptr;     ///< [R, I]
  float* mlp_up = nullptr;       ///< [R, I]
  std::uint16_t* mlp_inner = nullptr;  ///< [R, I padded] bf16, the last product's input

  Workspace() = default;
  Workspace(const PipoCudaConfig& c, Layout& layout);
  static std::int64_t bytes(const PipoCudaConfig& c) {
    Layout layout;
    Workspace(c, layout);
    return std::max(layout.bytes(), 2 * kStagingBytes);  // weights pass through it before it is used
  }
};

inline Workspace::Workspace(const PipoCudaConfig& c, Layout& layout) {
  const Widths w(c);
  const std::int64_t rows = kChunkRows;
  x = layout.take<float>(rows * w.hidden);
  hidden = layout.take<float>((rows + 1) * w.hidden);
  draft = layout.take<float>(rows * w.hidden);
  const std::int64_t widest = std::max({2 * w.hidden, w.inner, w.attention, w.value});
  inputs = layout.take<std::uint16_t>(rows * padded_width(widest));
  words = layout.take<std::int32_t>(4 * rows + 8);
  inv_freq = layout.take<float>(c.rotary_dim / 2);
  rotation = layout.take<float>(2 * std::int64_t{c.rotary_dim});
  partial = layout.take<float>(std::int64_t{c.n_heads} * kMostPartials * (c.head_dim + 2));
  arrived = layout.take<std::int32_t>(c.n_kv_heads);
  shared_attention = layout.take<float>(shared_attention_bytes(c, kMostMultiprocessors) / 4);
  products = layout.take<unsigned char>(kProductBytes);
  logits = layout.take<float>(c.vocab_size);
  scalar = layout.take<float>(1);
  sampling = layout.take<unsigned char>(sample_scratch_bytes(c.real_vocab_size));

  const std::int64_t shared = layout.mark();
  embeddings = layout.take<float>(2 * rows * w.hidden);
  inner = layout.take<float>(2 * rows * w.hidden);
  layout.rewind(shared);
  q_gate = layout.take<float>(2 * rows * w.attention);
  k = layout.take<float>(rows * w.kv);
  v = layout.take<float>(rows * w.kv);
  attended = layout.take<float>(rows * w.attention);
  queries = layout.take<std::uint16_t>(rows * w.attention);
  layout.rewind(shared);
  qkv = layout.take<float>(rows * w.channels);
  z = layout.take<float>(rows * w.value);
  a = layout.take<float>(rows * c.n_value_heads);
  b = layout.take<float>(rows * c.n_value_heads);
  mixed = layout.take<float>(rows * w.channels);
  gates = layout.take<float>(2 * rows * c.n_value_heads);
  recalled = layout.take<float>(rows * w.value);
  delta_scratch = layout.take<unsigned char>(delta_chunk_bytes(c));
  layout.rewind(shared);
  mlp_gate = layout.take<float>(rows * w.inner);
  mlp_up = layout.take<float>(rows * w.inner);
  layout.rewind(shared);
  mlp_inner = layout.take<std::uint16_t>(rows * padded_width(w.inner));
}

/// State of one gated delta layer.
struct DeltaState {
  float* recurrent = nullptr;  ///< [n_value_heads, key_dim, value_dim]
  float* ring = nullptr;       ///< [conv_kernel, channels]
};

/// What a snapshot copies, in one piece: the states of the gated delta layers and the last hidden vector.
class States {
 public:
  States() = default;
  States(const PipoCudaConfig& c, void* base) : base_(static_cast<unsigned char*>(base)), layer_bytes_(layer_bytes(c)) {
    recurrent_floats_ = Widths(c).value * c.key_dim;
    hidden_at_ = count_delta_layers(c) * layer_bytes_;
  }
  static std::int64_t bytes(const PipoCudaConfig& c) {
    return count_delta_layers(c) * layer_bytes(c) + aligned(4ll * c.hidden_size);
  }
  static std::int64_t layer_bytes(const PipoCudaConfig& c) {
    const Widths w(c);
    return aligned(4 * (w.value * c.key_dim + w.channels * c.conv_kernel));
  }
  static std::int64_t count_delta_layers(const PipoCudaConfig& c) {
    return std::count_if(c.layer_types, c.layer_types + c.n_layers, [](std::uint8_t type) { return type != 0; });
  }

  void* base() const { return base_; }
  void* layer_base(int index) const { return base_ + index * layer_bytes_; }
  DeltaState layer(int index) const {
    auto* recurrent = reinterpret_cast<float*>(base_ + index * layer_bytes_);
    return {recurrent, recurrent + recurrent_floats_};
  }
  float* hidden() const { return reinterpret_cast<float*>(base_ + hidden_at_); }

 private:
  unsigned char* base_ = nullptr;
  std::int64_t layer_bytes_ = 0, recurrent_floats_ = 0, hidden_at_ = 0;
};

/// Keys or values of one attention layer for `positions`.
inline std::int64_t plane_bytes(const PipoCudaConfig& c, std::int64_t positions) {
  return aligned(positions * c.n_kv_heads * c.head_dim * (c.kv_type == 0 ? 4 : 2));
}
/// Attention layers with a cache, the draft head's included.
inline std::int64_t count_caches(const PipoCudaConfig& c) {
  return c.n_layers - States::count_delta_layers(c) + (c.compressor >= 0 ? 1 : 0);
}

/// Of one session's request.
struct RequestMemory {
  unsigned char* state = nullptr;  ///< StepState, then SampleRequest
  std::uint8_t* seen = nullptr;    ///< [V] flags
  std::uint8_t* allowed = nullptr; ///< [V / 8] bits
  std::int32_t* stop_ids = nullptr;

  RequestMemory() = default;
  RequestMemory(const PipoCudaConfig& c, Layout& layout)
      : state(layout.take<unsigned char>(kStepStateBytes)),
        seen(layout.take<std::uint8_t>(c.vocab_size)),
        allowed(layout.take<std::uint8_t>((c.vocab_size + 7) / 8)),
        stop_ids(layout.take<std::int32_t>(kMostStopIds)) {}
  static std::int64_t bytes(const PipoCudaConfig& c) {
    Layout layout;
    RequestMemory(c, layout);
    return layout.bytes();
  }
};

}  // namespace pipo::cuda
