#pragma once

#include <cstdint>
#include <vector>

#include "kernels/cuda_api.h"
#include "kernels/ops.h"
#include "model/weights.h"
#include "pipo/model_description.h"

namespace pipo {

/// A model as the CUDA library takes it: config and tensors, both pointing into this and into the packed image.
struct CudaDescription {
  /// `weights` may hold shapes only; then so do the tensors.
  CudaDescription(const ModelConfig& config, const ModelWeights& weights, kernels::KvType kv_type);
  CudaDescription(CudaDescription&&) = default;
  CudaDescription& operator=(CudaDescription&&) = default;

  std::int32_t n_tensors() const { return static_cast<std::int32_t>(tensors.size()); }
  /// Once the weights are on the device.
  void forget_data();

  std::vector<std::uint8_t> layer_types;
  std::vector<float> inv_freq;
  std::vector<PipoCudaTensor> tensors;
  PipoCudaConfig config{};
};

}  // namespace pipo
