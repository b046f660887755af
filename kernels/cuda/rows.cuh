#pragma once

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/layout.h"

/// Work on single rows between the products.
namespace pipo::cuda {

/// Weight i of row `row`.
__device__ __forceinline__ float weight_at(const Matrix& w, std::int64_t row, int i) {
  const std::uint8_t* at = w.rows + row * row_bytes(w.type, w.k_padded);
  if (w.type == WeightType::kF32) return reinterpret_cast<const float*>(at)[i];
  if (w.type == WeightType::kBf16) return bf16_to_float(reinterpret_cast<const std::uint16_t*>(at)[i]);
  const float scale = bf16_to_float(w.scales[row * (w.k_padded / w.group) + i / w.group]);
  if (w.type == WeightType::kInt8) return scale * static_cast<float>(reinterpret_cast<const std::int8_t*>(at)[i]);
  const int byte = at[i / 32 * 16 + i % 16];
  return scale * static_cast<float>((i % 32 < 16 ? byte & 15 : byte >> 4) - 8);
}

/// out [count, k] = rows ids[...] of `table`. Grid [count]. The ids lie on the device: they may have been sampled there.
static __global__ void __launch_bounds__(256) embed_kernel(Matrix table, const int* ids, float* out, const int* enabled) {
  release_next();
  wait_for_previous();
  if (enabled != nullptr && *enabled == 0) return;
  const int row = min(max(ids[blockIdx.x], 0), table.n - 1);
  for (int i = threadIdx.x; i < table.k; i += blockDim.x) {
    out[static_cast<std::int64_t>(blockIdx.x) * table.k + i] = weight_at(table, row, i);
  }
}

/// y = x rms(x) (1 + w) for rows of `dim`. Grid [rows]. In place allowed.
static __global__ void __launch_bounds__(256) rms_norm_kernel(const float* x, const float* w, float eps, int dim, float* y,
                                                              const int* enabled) {
  __shared__ float scratch[32];
  release_next();
  wait_for_previous();
  if (enabled != nullptr && *enabled == 0) return;
  const std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * dim;
  float sum = 0.0f;
  for (int i = threadIdx.x; i < dim; i += blockDim.x) sum += x[at + i] * x[at + i];
  const float scale = rsqrtf(block_sum(sum, scratch) / dim + eps);
  for (int i = threadIdx.x; i < dim; i += blockDim.x) y[at + i] = x[at + i] * scale * (1.0f + w[i]);
}

}  // namespace pipo::cuda
