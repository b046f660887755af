#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/packed_layout.h"

/// One row's 32 inputs of the types kQ8, kQ5 and kQ4 on the way into a panel or out of it.
namespace pipo::kernels {

struct StoredBlock {
  std::uint16_t scale = 0;    ///< f16
  std::uint16_t minimum = 0;  ///< f16, of kQ5 and kQ4
  std::uint32_t fifth = 0;    ///< of kQ5, as in a panel: bit 2 j + h of byte i belongs to input 16 h + 4 j + i
  /// kQ8: the 32 numbers, signed. kQ5 and kQ4: byte i has input i in its low and input 16 + i in its high nibble.
  std::uint8_t bytes[layout::kBlock] = {};
};

/// Brings bits in the order of the inputs into the order of StoredBlock::fifth.
static inline std::uint32_t fifth_of_panel(std::uint32_t bits) {
  std::uint32_t out = 0;
  for (int quad = 0; quad < 8; ++quad) {
    // Bit i of the quad goes to byte i: a product makes four copies, each shifted by 7 more.
    const std::uint32_t spread = ((bits >> (4 * quad) & 15u) * 0x00204081u) & 0x01010101u;
    out |= spread << (2 * (quad % 4) + quad / 4);
  }
  return out;
}

template <WeightType kType>
static inline void put_block(std::uint8_t* panel, int block, int row, const StoredBlock& from) {
  constexpr int kGroup = layout::kBlock;
  constexpr int kLines = kType == WeightType::kQ8 ? 8 : 4;
  std::uint8_t* scales = panel + layout::scale_offset(kType, kGroup, block, row);
  std::memcpy(scales, &from.scale, 2);
  if (kType != WeightType::kQ8) std::memcpy(scales + layout::kMinimumAfterScale, &from.minimum, 2);
  std::uint8_t* quads = panel + layout::block_offset(kType, kGroup, block) + 4 * row;
  for (int line = 0; line < kLines; ++line) std::memcpy(quads + line * layout::kLineBytes, from.bytes + 4 * line, 4);
  if (kType == WeightType::kQ5) std::memcpy(quads + kLines * layout::kLineBytes, &from.fifth, 4);
}

void put_block(WeightType type, std::uint8_t* panel, int block, int row, const StoredBlock& from);

/// Rounds `count` (1...32) weights; the rest of the block is zero or the minimum. See pack_rows for damaged ones.
StoredBlock round_block(WeightType type, const float* w, int count);

/// out [32] = the weights of one row in one block.
void unpack_block(WeightType type, const std::uint8_t* panel, int block, int row, float* out);

}  // namespace pipo::kernels
