#include "kernels/cuda_memory.h"

#include <algorithm>

#include "kernels/cuda/weight_layout.h"

namespace pipo::kernels {
namespace {

constexpr std::int64_t kDriverRoom = 192 << 20;  // context, graphs and local memory of kernels

std::string in_words(std::int64_t bytes) {
  const std::int64_t tenths = (bytes * 10 + (1 << 29)) >> 30;
  return bytes < (std::int64_t{1} << 30) ? std::to_string(bytes >> 20) + " MB"
                                         : std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " GB";
}

}  // namespace

PipoCudaMemory plan_cuda_memory(const PipoCudaConfig& c, const PipoCudaTensor* tensors, int n_tensors, int max_positions,
                                int n_snapshots) {
  PipoCudaMemory m{};
  m.weights = cuda::count_weight_bytes(tensors, n_tensors);
  m.workspace = cuda::Workspace::bytes(c);
  m.kv = 2 * cuda::count_caches(c) * cuda::plane_bytes(c, max_positions);
  m.states = cuda::States::bytes(c);
  m.snapshots = n_snapshots * m.states;
  m.step = cuda::RequestMemory::bytes(c);
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
