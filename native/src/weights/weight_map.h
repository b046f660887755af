#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kernels/cuda_api.h"
#include "model/weights.h"
#include "pipo/engine.h"
#include "pipo/model_description.h"

namespace pipo {

/// How a tensor is kept in memory.
enum class WeightRole : std::uint8_t {
  kMatrix,           ///< big and read every step: the chosen dtype, int8 under the mix
  kMlpMatrix,        ///< of the backbone's MLPs: the chosen dtype, int4 under the mix
  kSensitiveMatrix,  ///< embedding, output matrix, compressor, confidence head: int8 where the dtype is int4
  kSmallMatrix,      ///< fp32 always
  kVector,           ///< fp32
  kZeroCentredNorm,  ///< fp32, one plus what is on disk
  kConvolution,      ///< fp32, stored [C, 1, K] on disk and [K, C] in memory
  kNegExpVector,     ///< fp32, -exp of what is on disk (A_log)
};

/// Which phase of a decode step reads the tensor.
enum class WeightPhase : std::uint8_t { kBackbone, kDraft, kEmbedding, kHead };

/// One tensor that a model of some config must have.
struct WeightSpec {
  std::string name;
  std::vector<std::int64_t> shape;  ///< on disk
  WeightRole role = WeightRole::kVector;
  WeightPhase phase = WeightPhase::kBackbone;
  /// What a device calls the tensor, where it has a name there.
  std::optional<PipoCudaSlot> device_slot;
  std::int32_t layer = -1;  ///< the draft head's comes after the backbone's; -1 outside of layers
  /// Where the loaded tensor goes: exactly one of them is set.
  PackedMatrix* matrix = nullptr;
  const float** vector = nullptr;

  std::int64_t elements() const;
  bool is_matrix() const { return matrix != nullptr; }
};

/// The one place that knows tensor names: every tensor of the config, bound to the fields of `weights`, which is sized
/// to the config. The pointers live as long as `weights` stays where it is.
std::vector<WeightSpec> map_weights(const ModelConfig& config, ModelWeights& weights);

/// Fields that are derived once all tensors are bound (the tied output matrix).
void finish_weights(const ModelConfig& config, ModelWeights& weights);

/// What a device is given of a model: every tensor under its slot, with what `weights` points to. Every tensor of the
/// config must have a slot.
std::vector<PipoCudaTensor> device_tensors(const ModelConfig& config, const ModelWeights& weights);

/// Tensors that a checkpoint may carry although a model of this config has no use for them.
bool is_ignored_tensor(const ModelConfig& config, const std::string& name);

/// The weight type of a matrix role under a dtype; `on_disk` counts for kStored only.
kernels::WeightType weight_type(WeightRole role, WeightDtype dtype, DiskDtype on_disk = DiskDtype::kF32);

}  // namespace pipo
