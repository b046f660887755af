#pragma once

#include <cstdint>

#include "core/aligned_buffer.h"
#include "pipo/model_description.h"

namespace pipo {

/// Activations of one prefill chunk or decode step, fp32. One per engine: sessions use it in turns.
class Workspace {
 public:
  /// Positions that go through the layers together in prefill.
  static constexpr std::int32_t kMaxRows = 128;

  explicit Workspace(const ModelConfig& config, std::int32_t max_rows = kMaxRows);
  static std::int64_t bytes(const ModelConfig& config, std::int32_t max_rows = kMaxRows);
  std::int32_t max_rows() const { return max_rows_; }

  // R = max_rows, H = hidden size.
  float* x = nullptr;             ///< [R, H] residual stream
  float* normed = nullptr;        ///< [R, 2H] norm output; also [h ; m] and [e ; h] side by side
  float* embeddings = nullptr;    ///< [2R, H] = [R, 2H] embeddings of pairs
  float* inner = nullptr;         ///< [R, 2H] inside the compressor and the confidence head
  float* hidden = nullptr;        ///< [R + 1, H] row 0 is the position before the chunk
  float* draft_hidden = nullptr;  ///< [R, H]
  float* projected = nullptr;     ///< [R, P] q and gate, or q | k | v before the convolution
  float* query = nullptr;         ///< [R, A] attention: query; gated delta: z
  float* gate = nullptr;          ///< [R, A] attention's gate
  float* key = nullptr;           ///< [R, kv width]; gated delta: a
  float* value = nullptr;         ///< [R, kv width]; gated delta: b
  float* mixed = nullptr;         ///< [R, A] mixer output
  float* mlp_gate = nullptr;      ///< [R, I]
  float* mlp_up = nullptr;        ///< [R, I]
  float* logits = nullptr;        ///< [V]
  float* scalar = nullptr;        ///< [1] logit of the confidence head or the pre-gate

 private:
  std::int32_t max_rows_;
  AlignedBuffer<float> memory_;
};

}  // namespace pipo
