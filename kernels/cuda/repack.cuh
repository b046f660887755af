#pragma once

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/layout.h"
#include "kernels/packed_layout.h"

/// Turns whole panels of the engine's packed layout, as they were uploaded, into device rows: a transposition of 32-bit
/// words, with the lines of scales taken apart. Both hold the same numbers, so CPU and GPU run the same weights.
namespace pipo::cuda {

/// Words of weights of one row of a panel, padding of the panel included.
__host__ __device__ inline int panel_words(WeightType type, int panel_k) {
  switch (type) {
    case WeightType::kF32: return panel_k;
    case WeightType::kBf16: return panel_k / 2;
    case WeightType::kInt8: return panel_k / 4;
    default: return panel_k / 8;
  }
}

/// Line of a panel that holds word `word` of every row: quantised panels have a line of scales before every two groups.
__host__ __device__ inline std::int64_t panel_line(WeightType type, int group, int word) {
  if (type == WeightType::kF32 || type == WeightType::kBf16) return word;
  const int words_per_superblock = 2 * group / (type == WeightType::kInt8 ? 4 : 8);
  return word + word / words_per_superblock + 1;
}

/// One block per panel. `panels` holds `n_panels` panels from row `first_row` on; rows beyond the matrix are dropped.
static __global__ void repack_kernel(const std::uint32_t* panels, int first_row, std::int64_t panel_bytes, Matrix to) {
  const int panel_k = (to.k + kernels::kInputAlign - 1) / kernels::kInputAlign * kernels::kInputAlign;
  const std::uint32_t* panel = panels + blockIdx.x * (panel_bytes / 4);
  const int row_words = static_cast<int>(row_bytes(to.type, to.k_padded) / 4);
  const int words = panel_words(to.type, panel_k);
  const int row0 = first_row + blockIdx.x * kernels::kPanelRows;
  for (int i = threadIdx.x; i < row_words * kernels::kPanelRows; i += blockDim.x) {
    const int row = i / row_words, word = i % row_words;
    if (row0 + row >= to.n) continue;
    // Int4 stores q + 8: a padding weight of zero is 8 in every nibble.
    std::uint32_t value = to.type == WeightType::kInt4 ? 0x88888888u : 0u;
    if (word < words) value = panel[panel_line(to.type, to.group, word) * kernels::kPanelRows + row];
    const std::int64_t at = static_cast<std::int64_t>(row0 + row) * row_words + word;
    reinterpret_cast<std::uint32_t*>(const_cast<std::uint8_t*>(to.rows))[at] = value;
  }
  if (to.scales == nullptr) return;
  const int groups = to.k_padded / to.group, known = (panel_k + to.group - 1) / to.group;
  for (int i = threadIdx.x; i < groups * kernels::kPanelRows; i += blockDim.x) {
    const int row = i / groups, index = i % groups;
    if (row0 + row >= to.n) continue;
    std::uint16_t scale = 0;
    if (index < known) {
      const auto* bytes = reinterpret_cast<const std::uint8_t*>(panel);
      const int words_per_group = to.group / (to.type == WeightType::kInt8 ? 4 : 8);
      const std::int64_t superblock = (2 * words_per_group + 1) * 64;
      const std::uint8_t* from = bytes + index / 2 * superblock + index % 2 * 32 + 2 * row;
      scale = static_cast<std::uint16_t>(from[0] | from[1] << 8);
    }
    const_cast<std::uint16_t*>(to.scales)[static_cast<std::int64_t>(row0 + row) * groups + index] = scale;
  }
}

}  // namespace pipo::cuda
