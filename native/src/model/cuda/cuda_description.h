#pragma once

#include <cstdint>
#include <vector>

#include "kernels/cuda_api.h"
#include "kernels/ops.h"
#include "pipo/model_description.h"

namespace pipo {

/// A model as the CUDA library takes it: config and tensors, both pointing into this and into the packed image.
struct CudaDescription {
  /// The tensors may be shapes only, without data.
  CudaDescription(const ModelConfig& config, std::vector<PipoCudaTensor> device_tensors, kernels::KvType kv_type);
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
