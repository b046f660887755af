#include "kernels/cuda/engine/weights.h"

#include <map>
#include <string>

#include "kernels/cuda/engine/failure.h"
#include "kernels/cuda/memory_layout.h"
#include "kernels/cuda/weight_layout.h"

namespace pipo::cuda {
namespace {

/// Finds tensors by slot and layer and checks their shapes against the config.
class Binder {
 public:
  Binder(const PipoCudaConfig& config, const std::vector<PlacedTensor>& tensors) : c_(config), w_(config) {
    for (const PlacedTensor& t : tensors) found_[{t.from->slot, t.from->layer}] = &t;
  }

  Weights bind() {
    Weights w;
    w.embedding = matrix(kPipoEmbedding, -1, c_.vocab_size, w_.hidden);
    w.lm_head = found_.count({kPipoLmHead, -1}) != 0 ? matrix(kPipoLmHead, -1, c_.vocab_size, w_.hidden) : w.embedding;
    w.final_norm = vector(kPipoFinalNorm, -1, w_.hidden);
    int n_attention = 0, n_delta = 0;
    for (int i = 0; i < c_.n_layers; ++i) {
      const bool is_delta = c_.layer_types[i] != 0;
      w.layers.push_back(layer(i, is_delta, is_delta ? n_delta++ : n_attention++));
    }
    if (c_.compressor >= 0) pair_weights(w, n_attention);
    return w;
  }

 private:
  void pair_weights(Weights& w, int draft_place) {
    if (c_.compressor == 1) {
      w.compressor_inner = matrix(kPipoCompressorInner, -1, 2 * w_.hidden, 2 * w_.hidden);
      w.compressor_inner_bias = vector(kPipoCompressorInnerBias, -1, 2 * w_.hidden);
    }
    w.compressor_outer = matrix(kPipoCompressorOuter, -1, w_.hidden, 2 * w_.hidden);
    w.compressor_outer_bias = vector(kPipoCompressorOuterBias, -1, w_.hidden);
    w.draft_embedding_norm = vector(kPipoDraftEmbeddingNorm, -1, w_.hidden);
    w.draft_hidden_norm = vector(kPipoDraftHiddenNorm, -1, w_.hidden);
    w.draft_fc = matrix(kPipoDraftFc, -1, w_.hidden, 2 * w_.hidden);
    w.draft_layer = layer(c_.n_layers, false, draft_place);
    w.draft_norm = vector(kPipoDraftNorm, -1, w_.hidden);
    w.confidence_norm = vector(kPipoConfidenceNorm, -1, 2 * w_.hidden);
    w.confidence_fc1 = matrix(kPipoConfidenceFc1, -1, w_.hidden, 2 * w_.hidden);
    w.confidence_fc2 = matrix(kPipoConfidenceFc2, -1, 1, w_.hidden);
    if (c_.has_pre_gate) {
      w.pre_gate = matrix(kPipoPreGate, -1, 1, w_.hidden);
      w.pre_gate_bias = vector(kPipoPreGateBias, -1, 1);
    }
  }

  LayerWeights layer(int index, bool is_delta, int place) {
    LayerWeights l;
    l.is_delta = is_delta;
    l.place = place;
    l.input_norm = vector(kPipoInputNorm, index, w_.hidden);
    l.post_attention_norm = vector(kPipoPostAttentionNorm, index, w_.hidden);
    if (is_delta) l.delta = delta(index);
    else l.attention = attention(index);
    l.gate = matrix(kPipoGateProj, index, w_.inner, w_.hidden);
    l.up = matrix(kPipoUpProj, index, w_.inner, w_.hidden);
    l.down = matrix(kPipoDownProj, index, w_.hidden, w_.inner);
    return l;
  }

  AttentionWeights attention(int index) {
    return {matrix(kPipoQProj, index, 2 * w_.attention, w_.hidden),
            matrix(kPipoKProj, index, w_.kv, w_.hidden),
            matrix(kPipoVProj, index, w_.kv, w_.hidden),
            matrix(kPipoOProj, index, w_.hidden, w_.attention),
            vector(kPipoQNorm, index, c_.head_dim),
            vector(kPipoKNorm, index, c_.head_dim)};
  }

  DeltaWeights delta(int index) {
    return {matrix(kPipoInProjQkv, index, w_.channels, w_.hidden),
            matrix(kPipoInProjZ, index, w_.value, w_.hidden),
            matrix(kPipoInProjA, index, c_.n_value_heads, w_.hidden),
            matrix(kPipoInProjB, index, c_.n_value_heads, w_.hidden),
            matrix(kPipoOutProj, index, w_.hidden, w_.value),
            vector(kPipoConv, index, c_.conv_kernel * w_.channels),
            vector(kPipoNegExpALog, index, c_.n_value_heads),
            vector(kPipoDtBias, index, c_.n_value_heads),
            vector(kPipoDeltaNorm, index, c_.value_dim)};
  }

  const PlacedTensor& find(int slot, int index, std::int64_t n, std::int64_t k) const {
    const auto at = found_.find({slot, index});
    const std::string name = "tensor " + std::to_string(slot) + " of layer " + std::to_string(index);
    if (at == found_.end()) fail(kPipoCudaUnsupported, name + " is missing; install the extension again");
    const PipoCudaTensor& t = *at->second->from;
    if (t.n != n || t.k != k) {
      fail(kPipoCudaUnsupported, name + " is " + std::to_string(t.n) + " x " + std::to_string(t.k) + ", expected " +
                                     std::to_string(n) + " x " + std::to_string(k) + "; pack the model again");
    }
    return *at->second;
  }
  Matrix matrix(int slot, int index, std::int64_t n, std::int64_t k) const { return find(slot, index, n, k).matrix; }
  const float* vector(int slot, int index, std::int64_t k) const { return find(slot, index, 0, k).vector; }

  const PipoCudaConfig& c_;
  Widths w_;
  std::map<std::pair<int, int>, const PlacedTensor*> found_;
};

}  // namespace

std::vector<PlacedTensor> place_tensors(const PipoCudaTensor* tensors, int n_tensors, void* base) {
  Layout layout(base);
  std::vector<PlacedTensor> placed(static_cast<std::size_t>(n_tensors));
  for (int i = 0; i < n_tensors; ++i) {
    const PipoCudaTensor& t = tensors[i];
    PlacedTensor& p = placed[static_cast<std::size_t>(i)];
    const int same = tensor_with_same_bytes(tensors, i);
    if (same >= 0) {
      p = placed[static_cast<std::size_t>(same)];
      p.shared = true;
    } else if (t.n == 0) {
      p.vector = layout.take<float>(t.k);
    } else {
      p.matrix = take_matrix(t, layout);
    }
    p.from = &t;
  }
  return placed;
}

Weights bind_weights(const PipoCudaConfig& config, const std::vector<PlacedTensor>& tensors) {
  return Binder(config, tensors).bind();
}

}  // namespace pipo::cuda
