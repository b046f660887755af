#include "model/cuda/cuda_description.h"

#include "model/rotary.h"

namespace pipo {
namespace {

constexpr std::int32_t kNoLayer = -1;

/// Goes through the fields of the weights as they are bound, each with its slot.
class Tensors {
 public:
  Tensors(const ModelConfig& config, std::vector<PipoCudaTensor>& tensors) : c_(config), tensors_(tensors) {}

  void add(const ModelWeights& w) {
    const auto n_layers = static_cast<std::int32_t>(w.layers.size());
    matrix(kPipoEmbedding, kNoLayer, w.embedding);
    if (!c_.tie_word_embeddings) matrix(kPipoLmHead, kNoLayer, w.lm_head);
    vector(kPipoFinalNorm, kNoLayer, w.final_norm, c_.hidden_size);
    for (std::int32_t i = 0; i < n_layers; ++i) layer(i, w.layers[static_cast<std::size_t>(i)]);
    if (!w.pipo) return;
    compressor(w.pipo->compressor);
    draft_head(n_layers, w.pipo->draft_head);
    confidence_head(w.pipo->confidence_head);
    if (w.pipo->pre_gate) pre_gate(*w.pipo->pre_gate);
  }

 private:
  void layer(std::int32_t index, const LayerWeights& w) {
    vector(kPipoInputNorm, index, w.input_norm, c_.hidden_size);
    vector(kPipoPostAttentionNorm, index, w.post_attention_norm, c_.hidden_size);
    if (w.type == LayerType::kFullAttention) {
      attention(index, w.attention);
    } else {
      delta_net(index, w.delta_net);
    }
    matrix(kPipoGateProj, index, w.mlp.gate_proj);
    matrix(kPipoUpProj, index, w.mlp.up_proj);
    matrix(kPipoDownProj, index, w.mlp.down_proj);
  }

  void attention(std::int32_t index, const AttentionWeights& w) {
    matrix(kPipoQProj, index, w.q_proj);
    matrix(kPipoKProj, index, w.k_proj);
    matrix(kPipoVProj, index, w.v_proj);
    matrix(kPipoOProj, index, w.o_proj);
    vector(kPipoQNorm, index, w.q_norm, c_.head_dim);
    vector(kPipoKNorm, index, w.k_norm, c_.head_dim);
  }

  void delta_net(std::int32_t index, const DeltaNetLayerWeights& w) {
    const std::int32_t channels = 2 * c_.linear_num_key_heads * c_.linear_key_head_dim +
                                  c_.linear_num_value_heads * c_.linear_value_head_dim;
    matrix(kPipoInProjQkv, index, w.in_proj_qkv);
    matrix(kPipoInProjZ, index, w.in_proj_z);
    matrix(kPipoInProjA, index, w.in_proj_a);
    matrix(kPipoInProjB, index, w.in_proj_b);
    matrix(kPipoOutProj, index, w.out_proj);
    vector(kPipoConv, index, w.mixer.conv, c_.linear_conv_kernel_dim * channels);
    vector(kPipoNegExpALog, index, w.mixer.neg_exp_a_log, c_.linear_num_value_heads);
    vector(kPipoDtBias, index, w.mixer.dt_bias, c_.linear_num_value_heads);
    vector(kPipoDeltaNorm, index, w.mixer.norm, c_.linear_value_head_dim);
  }

  void compressor(const CompressorWeights& w) {
    if (w.type == CompressorType::kMlp) {
      matrix(kPipoCompressorInner, kNoLayer, w.inner);
      vector(kPipoCompressorInnerBias, kNoLayer, w.inner_bias, 2 * c_.hidden_size);
    }
    matrix(kPipoCompressorOuter, kNoLayer, w.outer);
    vector(kPipoCompressorOuterBias, kNoLayer, w.outer_bias, c_.hidden_size);
  }

  void draft_head(std::int32_t index, const DraftHeadWeights& w) {
    vector(kPipoDraftEmbeddingNorm, kNoLayer, w.embedding_norm, c_.hidden_size);
    vector(kPipoDraftHiddenNorm, kNoLayer, w.hidden_norm, c_.hidden_size);
    matrix(kPipoDraftFc, kNoLayer, w.fc);
    layer(index, w.layer);
    vector(kPipoDraftNorm, kNoLayer, w.norm, c_.hidden_size);
  }

  void confidence_head(const ConfidenceHeadWeights& w) {
    vector(kPipoConfidenceNorm, kNoLayer, w.norm, 2 * c_.hidden_size);
    matrix(kPipoConfidenceFc1, kNoLayer, w.fc1);
    matrix(kPipoConfidenceFc2, kNoLayer, w.fc2);
  }

  void pre_gate(const PreGateWeights& w) {
    matrix(kPipoPreGate, kNoLayer, w.linear);
    vector(kPipoPreGateBias, kNoLayer, w.bias, 1);
  }

  void matrix(PipoCudaSlot slot, std::int32_t layer, const PackedMatrix& m) {
    tensors_.push_back({slot, layer, static_cast<std::int32_t>(m.type), m.group, m.n, m.k, m.data});
  }
  void vector(PipoCudaSlot slot, std::int32_t layer, const float* data, std::int32_t size) {
    tensors_.push_back({slot, layer, static_cast<std::int32_t>(kernels::WeightType::kF32), 0, 0, size, data});
  }

  const ModelConfig& c_;
  std::vector<PipoCudaTensor>& tensors_;
};

std::int32_t compressor_kind(const ModelConfig& c) {
  if (!c.pipo) return -1;
  return c.pipo->compressor == CompressorType::kLinear ? 0 : 1;
}

}  // namespace

CudaDescription::CudaDescription(const ModelConfig& c, const ModelWeights& weights, kernels::KvType kv_type)
    : inv_freq(rotary_frequencies(c)) {
  for (const LayerType type : c.layer_types) layer_types.push_back(type == LayerType::kFullAttention ? 0 : 1);
  Tensors(c, tensors).add(weights);
  config.vocab_size = c.vocab_size;
  config.real_vocab_size = c.real_vocab_size;
  config.hidden_size = c.hidden_size;
  config.intermediate_size = c.intermediate_size;
  config.n_layers = static_cast<std::int32_t>(layer_types.size());
  config.layer_types = layer_types.data();
  config.n_heads = c.num_attention_heads;
  config.n_kv_heads = c.num_key_value_heads;
  config.head_dim = c.head_dim;
  config.rotary_dim = c.rotary_dim;
  config.inv_freq = inv_freq.data();
  config.eps = static_cast<float>(c.rms_norm_eps);
  config.n_key_heads = c.linear_num_key_heads;
  config.n_value_heads = c.linear_num_value_heads;
  config.key_dim = c.linear_key_head_dim;
  config.value_dim = c.linear_value_head_dim;
  config.conv_kernel = c.linear_conv_kernel_dim;
  config.compressor = compressor_kind(c);
  config.pad_token_id = c.pipo ? c.pipo->pad_token_id : 0;
  config.has_pre_gate = c.pipo && c.pipo->pre_gate ? 1 : 0;
  config.kv_type = kv_type == kernels::KvType::kF32 ? 0 : 1;
}

void CudaDescription::forget_data() {
  for (PipoCudaTensor& tensor : tensors) tensor.data = nullptr;
}

}  // namespace pipo
