#pragma once

#include <optional>
#include <vector>

#include "kernels/ops.h"
#include "pipo/model_description.h"

/// The loaded weights as the forward pass reads them. Everything points into the packed image and owns nothing.
namespace pipo {

using kernels::PackedMatrix;

/// Full attention. With an output gate q_proj holds query and gate rows, interleaved per head.
struct AttentionWeights {
  PackedMatrix q_proj, k_proj, v_proj, o_proj;
  const float* q_bias = nullptr;  ///< [rows of q_proj]; these three null without attention biases
  const float* k_bias = nullptr;
  const float* v_bias = nullptr;
  const float* q_norm = nullptr;  ///< [head_dim]; these two null without a norm of queries and keys
  const float* k_norm = nullptr;
};

/// Gated delta rule with its convolution.
struct DeltaNetLayerWeights {
  PackedMatrix in_proj_qkv, in_proj_z, in_proj_a, in_proj_b, out_proj;
  kernels::DeltaNetWeights mixer;
};

struct MlpWeights {
  PackedMatrix gate_proj, up_proj, down_proj;
};

struct LayerWeights {
  LayerType type = LayerType::kFullAttention;
  const float* input_norm = nullptr;           ///< [H]
  const float* post_attention_norm = nullptr;  ///< [H]
  AttentionWeights attention;                  ///< when type is kFullAttention
  DeltaNetLayerWeights delta_net;              ///< when type is kLinearAttention
  MlpWeights mlp;
};

/// `inner` is used by the mlp kind only.
struct CompressorWeights {
  CompressorType type = CompressorType::kMlp;
  PackedMatrix inner, outer;
  const float* inner_bias = nullptr;  ///< [2H]
  const float* outer_bias = nullptr;  ///< [H]
};

struct DraftHeadWeights {
  const float* embedding_norm = nullptr;  ///< [H]
  const float* hidden_norm = nullptr;     ///< [H]
  PackedMatrix fc;                        ///< [H, 2H], embedding first
  LayerWeights layer;
  const float* norm = nullptr;  ///< [H]
};

struct ConfidenceHeadWeights {
  const float* norm = nullptr;  ///< [2H]
  PackedMatrix fc1;             ///< [H, 2H], h first
  PackedMatrix fc2;             ///< [1, H]
};

/// For checkpoints that hold one.
struct PreGateWeights {
  PackedMatrix linear;          ///< [1, H]
  const float* bias = nullptr;  ///< [1]
};

struct PipoWeights {
  CompressorWeights compressor;
  DraftHeadWeights draft_head;
  ConfidenceHeadWeights confidence_head;
  std::optional<PreGateWeights> pre_gate;
};

struct ModelWeights {
  PackedMatrix embedding;  ///< [V, H]
  PackedMatrix lm_head;    ///< [V, H]; the embedding where they are tied
  const float* final_norm = nullptr;
  std::vector<LayerWeights> layers;
  std::optional<PipoWeights> pipo;
};

}  // namespace pipo
