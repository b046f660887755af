#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace pipo {

/// Element types on disk: plain ones, and the block formats of GGUF under its own names.
enum class DiskDtype : std::uint8_t {
  kF32,
  kBf16,
  kF16,
  kQ8_0,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ2K,
  kQ3K,
  kQ4K,
  kQ5K,
  kQ6K,
  kIq4Nl,
};
/// kMix: int4 in the MLPs of the backbone, its largest part, and int8 in everything else that is quantised. kStored: every
/// matrix in the format that holds its type on disk exactly or nearly so.
enum class WeightDtype : std::uint8_t { kF32 = 0, kBf16 = 1, kInt8 = 2, kInt4 = 3, kMix = 4, kStored = 5 };
enum class LayerType : std::uint8_t { kFullAttention = 0, kLinearAttention = 1 };
enum class CompressorType : std::uint8_t { kLinear = 0, kMlp = 1 };
/// An RMS norm multiplies by its weight, or by one plus its weight.
enum class NormWeight : std::uint8_t { kPlain = 0, kZeroCentred = 1 };
enum class RopeScalingType : std::uint8_t { kLinear = 0, kLlama3 = 1, kYarn = 2 };

/// Where the bytes of one tensor lie; offset and bytes are checked against the file again when it is mapped.
struct TensorRef {
  std::string file;
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
  DiskDtype dtype = DiskDtype::kF32;
  std::vector<std::int64_t> shape;
  /// Heads whose rows are stored for a rotation of neighbours (row 2 i and 2 i + 1 of a head for the engine's i and
  /// i + head_dim / 2); 0: rows are in the engine's order.
  std::int32_t interleaved_heads = 0;
};

/// LoRA update merged at load: W + scale * B A with A [rank, in], B [out, rank].
struct LoraRef {
  TensorRef a;
  TensorRef b;
  double scale = 1.0;
};

struct TensorSource {
  std::string name;  ///< canonical, see weights/tensor_table
  TensorRef ref;
  std::optional<LoraRef> lora;
};

struct PipoConfig {
  CompressorType compressor = CompressorType::kMlp;
  std::int32_t pad_token_id = 0;
  bool pre_gate = false;  ///< whether the checkpoint holds one

  bool operator==(const PipoConfig&) const = default;
};

/// How rotary frequencies are stretched beyond the length that a model was trained for. Meaning as in the
/// `rope_parameters` of Hugging Face transformers; fields that a type does not use are 0.
struct RopeScaling {
  RopeScalingType type = RopeScalingType::kLinear;
  double factor = 1.0;
  std::int32_t original_max_positions = 0;
  double low_frequency_factor = 0.0;
  double high_frequency_factor = 0.0;
  double beta_fast = 0.0;
  double beta_slow = 0.0;
  double attention_factor = 1.0;  ///< of cosines and sines

  bool operator==(const RopeScaling&) const = default;
};

/// A model's architecture and sizes. The engine knows no families: what makes one differ from another stands here as
/// data. Read and written through pipo/model_schema.h only.
struct ModelConfig {
  std::string family = "qwen3_5";  ///< for messages only
  std::int32_t vocab_size = 0;
  std::int32_t real_vocab_size = 0;  ///< ids at or above are padding rows, never produced
  std::int32_t hidden_size = 0;
  std::int32_t intermediate_size = 0;
  std::vector<LayerType> layer_types;
  std::int32_t num_attention_heads = 0;
  std::int32_t num_key_value_heads = 0;
  std::int32_t head_dim = 0;
  NormWeight norm_weight = NormWeight::kZeroCentred;  ///< of every norm but the one inside a gated delta layer
  double rms_norm_eps = 1e-6;
  bool query_key_norm = true;
  bool output_gate = true;      ///< the query projection also yields a gate for each head's output
  bool attention_bias = false;  ///< of the query, key and value projections
  std::int32_t rotary_dim = 0;
  double rope_theta = 1e7;
  std::optional<RopeScaling> rope_scaling;
  std::int32_t linear_conv_kernel_dim = 0;
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
