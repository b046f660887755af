#include "kernels/cuda_memory.h"

#include <algorithm>

#include "kernels/cuda/layout.h"
#include "kernels/cuda/sample_request.h"

namespace pipo::kernels {
namespace {

constexpr std::int64_t kAlign = 256;             // of every allocation
constexpr std::int64_t kDriverRoom = 192 << 20;  // context, graphs and local memory of kernels
constexpr std::int64_t kStagingBytes = 64 << 20;

std::int64_t aligned(std::int64_t bytes) { return (bytes + kAlign - 1) / kAlign * kAlign; }

std::int64_t tensor_bytes(const PipoCudaTensor& t) {
  if (t.n == 0) return aligned(std::int64_t{t.k} * 4);
  const auto type = static_cast<WeightType>(t.type);
  return aligned(cuda::weight_bytes(type, t.n, t.k)) + aligned(cuda::scale_bytes(type, t.group, t.n, t.k));
}

std::string in_words(std::int64_t bytes) {
  const std::int64_t tenths = (bytes * 10 + (1 << 29)) >> 30;
  return bytes < (std::int64_t{1} << 30) ? std::to_string(bytes >> 20) + " MB"
                                         : std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " GB";
}

}  // namespace

PipoCudaMemory plan_cuda_memory(const PipoCudaConfig& c, const PipoCudaTensor* tensors, int n_tensors, int max_positions,
                                int n_snapshots) {
  PipoCudaMemory m{};
  for (int i = 0; i < n_tensors; ++i) m.weights += tensor_bytes(tensors[i]);
  std::int64_t attention_layers = c.compressor >= 0 ? 1 : 0, delta_layers = 0;  // the draft head is one more
  for (int i = 0; i < c.n_layers; ++i) ++(c.layer_types[i] == 0 ? attention_layers : delta_layers);

  const std::int64_t element = c.kv_type == 0 ? 4 : 2;
  m.kv = 2 * attention_layers * aligned(std::int64_t{max_positions} * c.n_kv_heads * c.head_dim * element);
  const std::int64_t value = std::int64_t{c.n_value_heads} * c.value_dim;
  const std::int64_t channels = 2 * std::int64_t{c.n_key_heads} * c.key_dim + value;
  // The history of the convolution is a ring with one row more than its neighbours need.
  m.states = delta_layers * aligned(4 * (value * c.key_dim + channels * c.conv_kernel)) + aligned(4ll * c.hidden_size);
  m.snapshots = n_snapshots * m.states;

  const std::int64_t attention = std::int64_t{c.n_heads} * c.head_dim;
  const std::int64_t widest = std::max({3 * attention + 2 * std::int64_t{c.n_kv_heads} * c.head_dim, 2 * channels + 2 * value,
                                        2 * std::int64_t{c.intermediate_size}, 4 * std::int64_t{c.hidden_size}});
  const std::int64_t row = 4 * (widest + 4 * std::int64_t{c.hidden_size}) + 2 * widest;  // fp32, and bf16 inputs of products
  m.workspace = aligned(kCudaChunkRows * row) + kStagingBytes;
  m.step = aligned(4ll * c.vocab_size) + aligned(cuda::sample_scratch_bytes(c.vocab_size)) + 2 * aligned(c.vocab_size) +
           aligned(4ll * c.n_heads * 64 * (c.head_dim + 2));
  return m;
}

std::int64_t total_bytes(const PipoCudaMemory& m) {
  return m.weights + m.workspace + m.kv + m.states + m.snapshots + m.step;
}

std::string memory_refusal(const PipoCudaMemory& m, std::int64_t free_bytes, int max_positions) {
  const std::int64_t needed = total_bytes(m) + kDriverRoom;
  if (needed <= free_bytes) return {};
  std::string words = "the model needs " + in_words(needed) + " of the device's memory (weights " + in_words(m.weights) +
                      ", context of " + std::to_string(max_positions) + " positions " + in_words(m.kv) +
                      ", states and snapshots " + in_words(m.states + m.snapshots) + "), " + in_words(free_bytes) +
                      " is free; ";
  const std::int64_t without_context = needed - m.kv;
  if (max_positions > 0 && without_context < free_bytes) {
    const std::int64_t fitting = (free_bytes - without_context) / std::max<std::int64_t>(1, m.kv / max_positions);
    return words + "choose a context of at most " + std::to_string(fitting) + " positions";
  }
  return words + "choose a smaller dtype (int8, int4) or a smaller model";
}

}  // namespace pipo::kernels
