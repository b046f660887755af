#include "model/cuda/cuda_description.h"

#include <utility>

#include "model/rotary.h"

namespace pipo {
namespace {

std::int32_t compressor_kind(const ModelConfig& c) {
  if (!c.pipo) return -1;
  return c.pipo->compressor == CompressorType::kLinear ? 0 : 1;
}

}  // namespace

CudaDescription::CudaDescription(const ModelConfig& c, std::vector<PipoCudaTensor> device_tensors,
                                 kernels::KvType kv_type)
    : inv_freq(rotary_frequencies(c)), tensors(std::move(device_tensors)) {
  for (const LayerType type : c.layer_types) layer_types.push_back(type == LayerType::kFullAttention ? 0 : 1);
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
