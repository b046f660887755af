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
///   Q8    4 inputs    as int8
///   Q5    4 + 4       four lines as int4, q in [0, 31] without its highest bit; then one line of those: bit 2 j + h
///                     of byte 4 r + i belongs to row r's input 16 h + 4 j + i
///   Q4    4 + 4       as int4, q in [0, 15]
/// A wide vector takes the line at once, a narrower one in halves or quarters of it.
/// int8, int4 and Q8 panels are cut into superblocks of two groups, each preceded by one line of scales (bf16; of Q8
/// f16): 16 for the rows in the first group, 16 for the second. The last superblock may have one group; the line is
/// there nevertheless. Q5 and Q4 have before each block of 32 inputs one line of 16 scales and 16 minimums in f16.
///
/// Functions are static, because they are also compiled into translation units for wider instructions.
namespace pipo::kernels::layout {

/// Inputs that share a scale when activations are rounded to int8; also the unit of the offsets below.
inline constexpr int kBlock = 32;
inline constexpr int kLineBytes = 64;

static inline std::int32_t padded_k(std::int32_t k) { return (k + kInputAlign - 1) / kInputAlign * kInputAlign; }

static inline bool is_quantised(WeightType type) { return type != WeightType::kF32 && type != WeightType::kBf16; }

/// w = scale * q + minimum, with both in one line before every block.
static inline bool has_minimum(WeightType type) { return type == WeightType::kQ5 || type == WeightType::kQ4; }

/// Bytes of one panel for kBlock inputs: its weights and, where every block has its own, the line of scales.
static inline std::int64_t block_bytes(WeightType type) {
  switch (type) {
    case WeightType::kF32:
      return kBlock * kPanelRows * 4;
    case WeightType::kBf16:
      return kBlock * kPanelRows * 2;
    case WeightType::kInt8:
    case WeightType::kQ8:
      return kBlock * kPanelRows;
    case WeightType::kQ5:
      return kBlock * kPanelRows / 2 + 2 * kLineBytes;
    case WeightType::kQ4:
      return kBlock * kPanelRows / 2 + kLineBytes;
    default:
      return kBlock * kPanelRows / 2;
  }
}

static inline int blocks_per_superblock(int group) { return 2 * group / kBlock; }

static inline std::int64_t panel_bytes(WeightType type, int group, std::int32_t k_padded) {
  const std::int64_t blocks = k_padded / kBlock;
  const std::int64_t weights = blocks * block_bytes(type);
  if (!is_quantised(type) || has_minimum(type)) return weights;
  const int per_superblock = blocks_per_superblock(group);
  return weights + (blocks + per_superblock - 1) / per_superblock * kLineBytes;
}

/// Offset of the weights of block `block` in a panel.
static inline std::int64_t block_offset(WeightType type, int group, std::int32_t block) {
  const std::int64_t weights = block * block_bytes(type);
  if (has_minimum(type)) return weights + kLineBytes;
  return is_quantised(type) ? weights + (block / blocks_per_superblock(group) + 1) * kLineBytes : weights;
}

/// Offset of the scale of row `row` (0...15) in group `index`, 2 bytes.
static inline std::int64_t scale_offset(WeightType type, int group, std::int32_t index, int row) {
  if (has_minimum(type)) return index * block_bytes(type) + 2 * row;
  const std::int64_t superblock = blocks_per_superblock(group) * block_bytes(type) + kLineBytes;
  return (index / 2) * superblock + (index % 2) * (kLineBytes / 2) + 2 * row;
}

/// From a row's scale to its minimum.
inline constexpr int kMinimumAfterScale = kLineBytes / 2;

}  // namespace pipo::kernels::layout
