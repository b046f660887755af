#include "pipo/random_model.h"

#include <algorithm>
#include <cmath>

#include "pipo/error.h"
#include "weights/check_model.h"
#include "weights/load_weights.h"

namespace pipo {
namespace {

struct Size {
  const char* name;
  std::int32_t hidden, intermediate, layers, heads, kv_heads, value_heads;
  bool tied;
};

constexpr Size kSizes[] = {
    {"0.8b", 1024, 3584, 24, 8, 2, 16, true},
    {"2b", 2048, 6144, 24, 8, 2, 16, true},
    {"4b", 2560, 9216, 32, 16, 4, 32, true},
    {"9b", 4096, 12288, 32, 16, 4, 32, false},
};

std::vector<LayerType> every_fourth_full(std::int32_t layers) {
  std::vector<LayerType> types;
  for (std::int32_t i = 0; i < layers; ++i) {
    types.push_back((i + 1) % 4 == 0 ? LayerType::kFullAttention : LayerType::kLinearAttention);
  }
  return types;
}

ModelConfig tiny_config() {
  ModelConfig c;
  c.vocab_size = 8192;
  c.real_vocab_size = 8192;
  c.hidden_size = 256;
  c.intermediate_size = 512;
  c.layer_types = every_fourth_full(8);
  c.num_attention_heads = 4;
  c.num_key_value_heads = 2;
  c.head_dim = 64;
  c.rotary_dim = 16;
  c.rope_theta = 1e5;
  c.max_positions = 2048;
  c.linear_conv_kernel_dim = 4;
  c.linear_key_head_dim = 64;
  c.linear_value_head_dim = 64;
  c.linear_num_key_heads = 4;
  c.linear_num_value_heads = 4;
  c.pipo = PipoConfig{CompressorType::kMlp, 0};
  return c;
}

/// A cheap stream of values in (-1, 1).
float next_value(std::uint32_t& state) {
  state = state * 1664525u + 1013904223u;
  return static_cast<float>(static_cast<std::int32_t>(state)) * 0x1p-31f;
}

/// Matrices keep the scale of their input; norms stay near identity, decays moderate.
void fill_random(const WeightSpec& spec, std::int64_t first_row, std::int64_t n_rows, float* out) {
  const std::int64_t width = spec.elements() / spec.shape[0];
  const float scale = spec.is_matrix() ? std::sqrt(3.0f / static_cast<float>(width)) : 0.1f;
  std::uint32_t state = static_cast<std::uint32_t>(first_row * 2654435761u) ^ static_cast<std::uint32_t>(width);
  for (std::int64_t i = 0; i < n_rows * width; ++i) out[i] = scale * next_value(state);
}

class RandomRows final : public RowSource {
 public:
  void read_rows(const WeightSpec& spec, std::int64_t first_row, std::int64_t n_rows, float* out,
                 std::vector<std::byte>&) const override {
    fill_random(spec, first_row, n_rows, out);
  }
};

}  // namespace

ModelConfig released_config(const std::string& size) {
  if (size == "tiny") return tiny_config();
  for (const Size& s : kSizes) {
    if (size != s.name) continue;
    ModelConfig c;
    c.vocab_size = 248320;
    c.real_vocab_size = 248077;
    c.hidden_size = s.hidden;
    c.intermediate_size = s.intermediate;
    c.layer_types = every_fourth_full(s.layers);
    c.num_attention_heads = s.heads;
    c.num_key_value_heads = s.kv_heads;
    c.head_dim = 256;
    c.rotary_dim = 64;
    c.linear_conv_kernel_dim = 4;
    c.linear_key_head_dim = 128;
    c.linear_value_head_dim = 128;
    c.linear_num_key_heads = 16;
    c.linear_num_value_heads = s.value_heads;
    c.tie_word_embeddings = s.tied;
    c.max_positions = 262144;
    c.pipo = PipoConfig{CompressorType::kMlp, 248044};
    return c;
  }
  throw Error(ErrorCode::kBadRequest, "no released size is called " + size + "; choose tiny, 0.8b, 2b, 4b or 9b");
}

void write_random_packed_file(const std::string& path, const std::string& name, const ModelConfig& config,
                              WeightDtype dtype, std::int32_t group_size, int threads, const LoadProgressFn& progress) {
  check_config(config);
  if (dtype == WeightDtype::kStored) throw Error(ErrorCode::kBadRequest, "random weights are stored nowhere; choose a dtype");
  PackControl control;
  control.threads = worker_threads(threads);
  if (progress) control.progress = [&progress](double fraction) { progress(LoadStage::kPacking, fraction); };
  const RandomRows rows;
  pack_into_file(plan_packed(name, "random", config, dtype, group_size), rows, path, control);
}

}  // namespace pipo
