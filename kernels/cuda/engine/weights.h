#pragma once

#include <vector>

#include "kernels/cuda/layout.h"
#include "kernels/cuda_api.h"

/// The weights in device memory, as the forward pass reads them. Everything points into one allocation.
namespace pipo::cuda {

/// Gated full attention: q holds query and gate rows, interleaved per head.
struct AttentionWeights {
  Matrix q, k, v, o;
  const float* q_norm = nullptr;
  const float* k_norm = nullptr;
};

struct DeltaWeights {
  Matrix qkv, z, a, b, out;
  const float* conv = nullptr;           ///< [conv_kernel, channels]
  const float* neg_exp_a_log = nullptr;  ///< [n_value_heads]
  const float* dt_bias = nullptr;        ///< [n_value_heads]
  const float* norm = nullptr;           ///< [value_dim]
};

struct LayerWeights {
  bool is_delta = false;
  int place = 0;  ///< among the layers of its kind; the draft head's comes after the backbone's
  const float* input_norm = nullptr;
  const float* post_attention_norm = nullptr;
  AttentionWeights attention;
  DeltaWeights delta;
  Matrix gate, up, down;
};

struct Weights {
  Matrix embedding, lm_head;
  const float* final_norm = nullptr;
  std::vector<LayerWeights> layers;

  Matrix compressor_inner, compressor_outer;  ///< inner: of the mlp kind
  const float* compressor_inner_bias = nullptr;
  const float* compressor_outer_bias = nullptr;

  const float* draft_embedding_norm = nullptr;
  const float* draft_hidden_norm = nullptr;
  Matrix draft_fc;
  LayerWeights draft_layer;
  const float* draft_norm = nullptr;

  const float* confidence_norm = nullptr;
  Matrix confidence_fc1, confidence_fc2;

  Matrix pre_gate;
  const float* pre_gate_bias = nullptr;
};

/// Where one tensor goes.
struct PlacedTensor {
  const PipoCudaTensor* from = nullptr;
  Matrix matrix;                  ///< of a matrix
  const float* vector = nullptr;  ///< of a vector
  bool shared = false;            ///< the bytes are another tensor's
};

/// Places of all tensors in an allocation of `weights_bytes`; tied matrices share theirs. `base` may be null.
std::vector<PlacedTensor> place_tensors(const PipoCudaTensor* tensors, int n_tensors, void* base);

/// The weights of a model from its placed tensors. Throws kPipoCudaUnsupported for missing or misshapen ones.
Weights bind_weights(const PipoCudaConfig& config, const std::vector<PlacedTensor>& tensors);

}  // namespace pipo::cuda
