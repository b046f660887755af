#pragma once

#include <cstdint>

#include "kernels/packed_matrix.h"

/// Where each weight lies in a packed matrix.
///
/// A matrix is a sequence of panels of kPanelRows rows; a panel walks along k, so that one thread reads one sequential
/// stream. Each 64-byte line of weights holds, for the 16 rows in turn, 4 bytes of neighbouring inputs:
///   f32   1 input     line k           row r at byte 4 r
///   bf16  2 inputs    line k / 2       row r at byte 4 r
///   int8  4 inputs    line k / 4       signed, in [-127, 127]
///   int4  4 + 4       of 32 inputs, line j (0...3) has inputs 4j... in the low and 16 + 4j... in the high nibbles,
///                     stored as q + 8 with q in [-8, 7]
/// A wide vector takes the line at once, a narrower one in halves or quarters of it.
/// int8 and int4 panels are cut into superblocks of two groups, each preceded by one line of bf16 scales: 16 for the
/// rows in the first group, 16 for the second. The last superblock may have one group; the line is there nevertheless.
///
/// Functions are static, because they are also compiled into translation units for wider instructions.
namespace pipo::kernels::layout {

/// Inputs that share a scale when activations are rounded to int8; also the unit of the offsets below.
inline constexpr int kBlock = 32;
inline constexpr int kLineBytes = 64;

static inline std::int32_t padded_k(std::int32_t k) { return (k + kInputAlign - 1) / kInputAlign * kInputAlign; }

static inline bool is_quantised(WeightType type) { return type == WeightType::kInt8 || type == WeightType::kInt4; }

/// Bytes of the weights of one panel for kBlock inputs.
static inline std::int64_t block_bytes(WeightType type) {
  switch (type) {
    case WeightType::kF32:
      return kBlock * kPanelRows * 4;
    case WeightType::kBf16:
      return kBlock * kPanelRows * 2;
    case WeightType::kInt8:
      return kBlock * kPanelRows;
    default:
      return kBlock * kPanelRows / 2;
  }
}

static inline int blocks_per_superblock(int group) { return 2 * group / kBlock; }

static inline std::int64_t panel_bytes(WeightType type, int group, std::int32_t k_padded) {
  const std::int64_t blocks = k_padded / kBlock;
  const std::int64_t weights = blocks * block_bytes(type);
  if (!is_quantised(type)) return weights;
  const int per_superblock = blocks_per_superblock(group);
  return weights + (blocks + per_superblock - 1) / per_superblock * kLineBytes;
}

/// Offset of the weights of block `block` in a panel.
static inline std::int64_t block_offset(WeightType type, int group, std::int32_t block) {
  const std::int64_t weights = block * block_bytes(type);
  return is_quantised(type) ? weights + (block / blocks_per_superblock(group) + 1) * kLineBytes : weights;
}

/// Offset of the scale of row `row` (0...15) in group `index`, 2 bytes.
static inline std::int64_t scale_offset(WeightType type, int group, std::int32_t index, int row) {
  const std::int64_t superblock = blocks_per_superblock(group) * block_bytes(type) + kLineBytes;
  return (index / 2) * superblock + (index % 2) * (kLineBytes / 2) + 2 * row;
}

}  // namespace pipo::kernels::layout
