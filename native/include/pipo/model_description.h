#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace pipo {

enum class DiskDtype : std::uint8_t { kF32 = 0, kBf16 = 1, kF16 = 2 };
enum class LayerType : std::uint8_t { kFullAttention = 0, kLinearAttention = 1 };
enum class CompressorType : std::uint8_t { kLinear = 0, kMlp = 1 };

/// Where the bytes of one tensor lie; offset and bytes are checked against the file again when it is mapped.
struct TensorRef {
  std::string file;
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
  DiskDtype dtype = DiskDtype::kF32;
  std::vector<std::int64_t> shape;
};

/// LoRA update merged at load: W + scale * B A with A [rank, in], B [out, rank].
struct LoraRef {
  TensorRef a;
  TensorRef b;
  double scale = 1.0;
};

struct TensorSource {
  std::string name;  ///< canonical, see weights/weight_map
  TensorRef ref;
  std::optional<LoraRef> lora;
};

struct PipoConfig {
  CompressorType compressor = CompressorType::kMlp;
  std::int32_t pad_token_id = 0;
  bool pre_gate = false;  ///< whether the checkpoint holds one

  bool operator==(const PipoConfig&) const = default;
};

/// Hyper-parameters; the names follow the checkpoint's config.json.
struct ModelConfig {
  std::string architecture = "qwen3_5";
  std::int32_t vocab_size = 0;
  std::int32_t real_vocab_size = 0;  ///< ids at or above are padding rows, never produced
  std::int32_t hidden_size = 0;
  std::int32_t intermediate_size = 0;
  std::vector<LayerType> layer_types;
  std::int32_t num_attention_heads = 0;
  std::int32_t num_key_value_heads = 0;
  std::int32_t head_dim = 0;
  std::int32_t rotary_dim = 0;
  double rope_theta = 1e7;
  double rms_norm_eps = 1e-6;
  std::int32_t linear_conv_kernel_dim = 4;
  std::int32_t linear_key_head_dim = 0;
  std::int32_t linear_value_head_dim = 0;
  std::int32_t linear_num_key_heads = 0;
  std::int32_t linear_num_value_heads = 0;
  bool tie_word_embeddings = true;
  std::int32_t max_positions = 32768;
  std::optional<PipoConfig> pipo;

  bool operator==(const ModelConfig&) const = default;
};

struct ModelDescription {
  std::string name;
  ModelConfig config;
  std::vector<TensorSource> tensors;
  std::string fingerprint;
};

}  // namespace pipo
