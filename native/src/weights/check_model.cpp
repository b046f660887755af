#include "weights/check_model.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "core/words.h"
#include "pipo/error.h"
#include "weights/disk_dtype.h"
#include "weights/weight_map.h"

namespace pipo {
namespace {

constexpr std::int32_t kMaxDimension = 1 << 22;  // keeps every product of two within 64 bits, with room
constexpr std::int32_t kMaxHeadDim = 1024;       // what the kernels have room for

void require(bool condition, const std::string& what) {
  if (!condition) throw Error(ErrorCode::kBadConfig, "config: " + what);
}

void check_rope_scaling(const RopeScaling& s) {
  require(std::isfinite(s.factor) && s.factor >= 1, "the factor of rope scaling must be a number of at least 1");
  require(std::isfinite(s.attention_factor) && s.attention_factor > 0,
          "the attention factor of rope scaling must be positive");
  if (s.type == RopeScalingType::kLinear) return;
  require(s.original_max_positions > 0, "rope scaling needs the original number of positions");
  if (s.type == RopeScalingType::kLlama3) {
    require(0 < s.low_frequency_factor && s.low_frequency_factor < s.high_frequency_factor,
            "the low frequency factor of rope scaling must be positive and below the high one");
  } else {
    require(0 < s.beta_slow && s.beta_slow <= s.beta_fast, "beta_slow and beta_fast of rope scaling do not fit together");
  }
}

void check_shape(const TensorSource& tensor, const WeightSpec& spec) {
  if (tensor.ref.shape != spec.shape) {
    throw Error(ErrorCode::kBadShape, tensor.name + " has shape " + shape_in_words(tensor.ref.shape) +
                                          ", the config needs " + shape_in_words(spec.shape));
  }
  const std::int64_t heads = tensor.ref.interleaved_heads;
  if (heads != 0 && (spec.shape[0] % heads != 0 || spec.shape[0] / heads % 2 != 0)) {
    throw Error(ErrorCode::kBadShape, tensor.name + " cannot hold the interleaved rows of " + std::to_string(heads) +
                                          " heads in the shape " + shape_in_words(spec.shape));
  }
  if (!tensor.lora) return;
  const auto& a = tensor.lora->a.shape;
  const auto& b = tensor.lora->b.shape;
  if (spec.shape.size() != 2 || a.size() != 2 || b.size() != 2 || a[0] != b[1] || a[0] <= 0 || a[1] != spec.shape[1] ||
      b[0] != spec.shape[0]) {
    throw Error(ErrorCode::kBadShape, "the LoRA factors of " + tensor.name + ", A " + shape_in_words(a) + " and B " +
                                          shape_in_words(b) + ", do not multiply to " + shape_in_words(spec.shape));
  }
}

void check_bytes(const std::string& name, const TensorRef& ref) {
  const std::int64_t elements = element_count(ref.shape);
  if (elements < 0) throw Error(ErrorCode::kBadFile, name + " in " + ref.file + " is too large for any machine");
  const std::int64_t block = disk_block_elements(ref.dtype);
  if (!ref.shape.empty() && ref.shape.back() % block != 0) {
    throw Error(ErrorCode::kBadFile, name + " in " + ref.file + " has rows of " + std::to_string(ref.shape.back()) +
                                         " elements, which are no whole blocks of " + std::to_string(block));
  }
  const std::int64_t expected = disk_bytes(ref.dtype, elements);
  if (ref.bytes != static_cast<std::uint64_t>(expected)) {
    throw Error(ErrorCode::kBadFile, name + " in " + ref.file + " takes " + std::to_string(ref.bytes) +
                                         " bytes, its shape and dtype need " + std::to_string(expected));
  }
}

struct Span {
  std::uint64_t begin, end;
  const std::string* name;
};

void check_overlaps(const ModelDescription& model) {
  std::map<std::string, std::vector<Span>> by_file;
  for (const TensorSource& t : model.tensors) {
    by_file[t.ref.file].push_back({t.ref.offset, t.ref.offset + t.ref.bytes, &t.name});
  }
  for (auto& [file, spans] : by_file) {
    std::sort(spans.begin(), spans.end(), [](const Span& a, const Span& b) { return a.begin < b.begin; });
    for (std::size_t i = 1; i < spans.size(); ++i) {
      if (spans[i].begin < spans[i - 1].end) {
        throw Error(ErrorCode::kBadFile,
                    file + ": " + *spans[i - 1].name + " and " + *spans[i].name + " overlap; download it again");
      }
    }
  }
}

}  // namespace

void check_config(const ModelConfig& c) {
  const auto in_range = [](std::int32_t v) { return 0 < v && v <= kMaxDimension; };
  require(in_range(c.vocab_size) && 0 < c.real_vocab_size && c.real_vocab_size <= c.vocab_size,
          "vocab_size and real_vocab_size do not fit together");
  require(in_range(c.hidden_size) && in_range(c.intermediate_size), "hidden_size or intermediate_size out of range");
  require(!c.layer_types.empty() && c.layer_types.size() <= 1024, "it needs 1 to 1024 layers");
  require(in_range(c.num_attention_heads) && in_range(c.num_key_value_heads) && in_range(c.head_dim),
          "attention heads or head_dim out of range");
  require(c.head_dim <= kMaxHeadDim, "head_dim is above " + std::to_string(kMaxHeadDim));
  require(c.num_attention_heads % c.num_key_value_heads == 0,
          "num_attention_heads must be a multiple of num_key_value_heads");
  require(0 < c.rotary_dim && c.rotary_dim <= c.head_dim && c.rotary_dim % 2 == 0,
          "the rotary dimension must be even and at most head_dim");
  require(c.rope_theta > 0 && c.rms_norm_eps > 0, "rope_theta and rms_norm_eps must be positive");
  require(in_range(c.max_positions), "max_positions out of range");
  if (c.rope_scaling) check_rope_scaling(*c.rope_scaling);
  const bool has_linear =
      std::find(c.layer_types.begin(), c.layer_types.end(), LayerType::kLinearAttention) != c.layer_types.end();
  if (has_linear) {
    require(in_range(c.linear_num_key_heads) && in_range(c.linear_num_value_heads) && in_range(c.linear_key_head_dim) &&
                in_range(c.linear_value_head_dim),
            "linear attention heads or dimensions out of range");
    require(c.linear_key_head_dim <= kMaxHeadDim && c.linear_value_head_dim <= kMaxHeadDim,
            "linear attention's head dimensions are above " + std::to_string(kMaxHeadDim));
    require(c.linear_num_value_heads % c.linear_num_key_heads == 0,
            "linear_num_value_heads must be a multiple of linear_num_key_heads");
    require(2 <= c.linear_conv_kernel_dim && c.linear_conv_kernel_dim <= 16, "linear_conv_kernel_dim out of range");
  }
  if (c.pipo) {
    require(0 <= c.pipo->pad_token_id && c.pipo->pad_token_id < c.vocab_size, "pad_token_id is not in the vocabulary");
  }
}

void check_tensors(const ModelDescription& model) {
  ModelWeights unused;
  std::map<std::string, WeightSpec> specs;
  for (WeightSpec& spec : map_weights(model.config, unused)) specs.emplace(spec.name, std::move(spec));

  std::vector<std::string> unknown;
  std::set<std::string> seen;
  for (const TensorSource& tensor : model.tensors) {
    if (!seen.insert(tensor.name).second) throw Error(ErrorCode::kBadFile, tensor.name + " appears twice");
    const auto spec = specs.find(tensor.name);
    if (spec == specs.end()) {
      if (!is_ignored_tensor(model.config, tensor.name)) unknown.push_back(tensor.name);
      continue;
    }
    check_shape(tensor, spec->second);
    check_bytes(tensor.name, tensor.ref);
    if (tensor.lora) {
      check_bytes(tensor.name + " (LoRA A)", tensor.lora->a);
      check_bytes(tensor.name + " (LoRA B)", tensor.lora->b);
    }
  }
  std::vector<std::string> missing;
  for (const auto& [name, spec] : specs) {
    if (!seen.contains(name)) missing.push_back(name);
  }
  if (!missing.empty()) {
    throw Error(ErrorCode::kMissingTensor,
                model.name + " lacks " + list_in_words(missing) + "; the checkpoint is incomplete or of another kind");
  }
  if (!unknown.empty()) {
    throw Error(ErrorCode::kBadConfig,
                model.name + " holds tensors that its config has no place for: " + list_in_words(unknown));
  }
  check_overlaps(model);
}

}  // namespace pipo
