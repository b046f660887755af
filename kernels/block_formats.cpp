#include "kernels/block_formats.h"

#include <cstring>
#include <new>
#include <vector>

#include "kernels/check_shapes.h"
#include "kernels/half.h"
#include "kernels/stored_block.h"

namespace pipo::kernels {
namespace {

using layout::kBlock;

float half_at(const std::uint8_t* p) {
  std::uint16_t half;
  std::memcpy(&half, p, 2);
  return from_f16(half);
}

std::uint32_t word_at(const std::uint8_t* p) {
  std::uint32_t word;
  std::memcpy(&word, p, 4);
  return word;
}

std::uint64_t double_word_at(const std::uint8_t* p) {
  std::uint64_t word;
  std::memcpy(&word, p, 8);
  return word;
}

// --- Formats of 32 weights
// -------------------------------------------------------------------------------------------- Each format is a struct
// of the same members:
//   kElements, kBytes   of a block
//   kStored             stored_type
//   values              what a block means, [kElements]
//   store               the same as kElements / 32 blocks of kStored
// All of them begin with an f16 scale d; those with a minimum m have it behind.

struct Q8_0 {
  static constexpr int kElements = 32, kBytes = 34;
  static constexpr WeightType kStored = WeightType::kQ8;

  static void values(const std::uint8_t* block, float* out) {
    const float d = half_at(block);
    for (int i = 0; i < kBlock; ++i) out[i] = d * static_cast<float>(static_cast<std::int8_t>(block[2 + i]));
  }
  static void store(const std::uint8_t* block, StoredBlock* out) {
    std::memcpy(&out->scale, block, 2);
    std::memcpy(out->bytes, block + 2, kBlock);
  }
};

struct Iq4_Nl {
  static constexpr int kElements = 32, kBytes = 18;
  static constexpr WeightType kStored = WeightType::kQ8;
  static constexpr std::int8_t kNumbers[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                               1,    13,   25,  38,  53,  69,  89,  113};

  static void values(const std::uint8_t* block, float* out) {
    const float d = half_at(block);
    for (int i = 0; i < 16; ++i) {
      out[i] = d * static_cast<float>(kNumbers[block[2 + i] & 15]);
      out[16 + i] = d * static_cast<float>(kNumbers[block[2 + i] >> 4]);
    }
  }
  static void store(const std::uint8_t* block, StoredBlock* out) {
    std::memcpy(&out->scale, block, 2);
    for (int i = 0; i < 16; ++i) {
      out->bytes[i] = static_cast<std::uint8_t>(kNumbers[block[2 + i] & 15]);
      out->bytes[16 + i] = static_cast<std::uint8_t>(kNumbers[block[2 + i] >> 4]);
    }
  }
};

/// Q4_0, Q4_1, Q5_0 and Q5_1: d, (m,) (32 fifth bits,) 16 bytes with weight i in the low and 16 + i in the high half.
/// Without m, weights are d (q - half of the range).
template <bool kFive, bool kMinimum>
struct Nibbles {
  static constexpr int kElements = 32;
  static constexpr int kFifth = kMinimum ? 4 : 2, kNibbles = kFifth + (kFive ? 4 : 0), kBytes = kNibbles + 16;
  static constexpr WeightType kStored = kFive ? WeightType::kQ5 : WeightType::kQ4;
  static constexpr int kMiddle = kFive ? 16 : 8;

  static void values(const std::uint8_t* block, float* out) {
    const float d = half_at(block), m = kMinimum ? half_at(block + 2) : 0.0f;
    const std::uint32_t fifth = kFive ? word_at(block + kFifth) : 0;
    for (int i = 0; i < kBlock; ++i) {
      const int nibble = i < 16 ? block[kNibbles + i] & 15 : block[kNibbles + i - 16] >> 4;
      const int q = nibble | static_cast<int>(fifth >> i & 1u) << 4;
      out[i] = kMinimum ? d * static_cast<float>(q) + m : d * static_cast<float>(q - kMiddle);
    }
  }
  static void store(const std::uint8_t* block, StoredBlock* out) {
    std::memcpy(&out->scale, block, 2);
    if (kMinimum) {
      std::memcpy(&out->minimum, block + 2, 2);
    } else {
      out->minimum = to_f16(-kMiddle * from_f16(out->scale));
    }
    if (kFive) out->fifth = fifth_of_panel(word_at(block + kFifth));
    std::memcpy(out->bytes, block + kNibbles, 16);
  }
};

// --- Formats of 256 weights
// -------------------------------------------------------------------------------------------

/// Scale and minimum `i` (0...7) of Q4_K and Q5_K, 6 bits each, out of 12 bytes.
struct SixBits {
  int scale, minimum;

  SixBits(const std::uint8_t* s, int i) {
    if (i < 4) {
      scale = s[i] & 63;
      minimum = s[i + 4] & 63;
    } else {
      scale = (s[i + 4] & 15) | (s[i - 4] >> 6) << 4;
      minimum = s[i + 4] >> 4 | (s[i] >> 6) << 4;
    }
  }
};

/// Q4_K and Q5_K: d, d of the minimums, 8 scales and minimums, (fifth bits: bit s of byte i is that of weight i in
/// group s,) nibbles: of every 32 bytes the low halves are one group of 32 and the high ones the next.
template <bool kFive>
struct Groups {
  static constexpr int kElements = 256;
  static constexpr int kScales = 4, kFifth = 16, kNibbles = kFifth + (kFive ? 32 : 0), kBytes = kNibbles + 128;
  static constexpr WeightType kStored = kFive ? WeightType::kQ5 : WeightType::kQ4;

  static void values(const std::uint8_t* block, float* out) {
    const float d = half_at(block), d_minimum = half_at(block + 2);
    for (int s = 0; s < 8; ++s) {
      const SixBits group(block + kScales, s);
      const float scale = d * static_cast<float>(group.scale), minimum = d_minimum * static_cast<float>(group.minimum);
      const std::uint8_t* nibbles = block + kNibbles + s / 2 * 32;
      for (int i = 0; i < 32; ++i) {
        int q = nibbles[i] >> (s % 2 * 4) & 15;
        if (kFive) q |= (block[kFifth + i] >> s & 1) << 4;
        out[32 * s + i] = scale * static_cast<float>(q) - minimum;
      }
    }
  }
  static void store(const std::uint8_t* block, StoredBlock* out) {
    const float d = half_at(block), d_minimum = half_at(block + 2);
    for (int s = 0; s < 8; ++s) {
      const SixBits group(block + kScales, s);
      out[s].scale = to_f16(d * static_cast<float>(group.scale));
      out[s].minimum = to_f16(-d_minimum * static_cast<float>(group.minimum));
      store_nibbles(block + kNibbles + s / 2 * 32, s % 2 * 4, out[s].bytes);
      if (kFive) out[s].fifth = fifth_bits(block + kFifth, s);
    }
  }
  /// Of 32 bytes the low (`shift` 0) or high (4) halves: the first 16 become low halves, the others high ones.
  static void store_nibbles(const std::uint8_t* from, int shift, std::uint8_t* out) {
    constexpr std::uint64_t kLow = 0x0f0f0f0f0f0f0f0f;
    for (int i = 0; i < 16; i += 8) {
      const std::uint64_t first = double_word_at(from + i) >> shift & kLow;
      const std::uint64_t second = double_word_at(from + 16 + i) >> shift & kLow;
      const std::uint64_t both = first | second << 4;
      std::memcpy(out + i, &both, 8);
    }
  }
  static std::uint32_t fifth_bits(const std::uint8_t* bits, int group) {
    std::uint32_t out = 0;
    for (int quad = 0; quad < 8; ++quad) {
      out |= (word_at(bits + 4 * quad) >> group & 0x01010101u) << (2 * (quad % 4) + quad / 4);
    }
    return out;
  }
};

/// What formats with a scale for every 16 weights share: they are rounded again.
template <class Format>
struct Sixteens {
  static constexpr int kElements = 256;
  static constexpr WeightType kStored = WeightType::kQ8;

  static void store(const std::uint8_t* block, StoredBlock* out) {
    float values[kElements];
    Format::values(block, values);
    for (int s = 0; s < kElements / kBlock; ++s) out[s] = round_block(kStored, values + s * kBlock, kBlock);
  }
};

/// 16 bytes with a scale in the low and a minimum in the high half, 64 bytes of 2 bits, d, d of the minimums. Group g
/// of 32 has bits 2 (g % 4) of the 32 bytes from 32 (g / 4) on.
struct Q2_K : Sixteens<Q2_K> {
  static constexpr int kBytes = 84;

  static void values(const std::uint8_t* block, float* out) {
    const float d = half_at(block + 80), d_minimum = half_at(block + 82);
    for (int i = 0; i < kElements; i += 16) {
      const std::uint8_t* bits = block + 16 + i / 128 * 32 + i % 32;
      const int shift = i % 128 / 32 * 2;
      const float scale = d * static_cast<float>(block[i / 16] & 15);
      const float minimum = d_minimum * static_cast<float>(block[i / 16] >> 4);
      for (int j = 0; j < 16; ++j) out[i + j] = scale * static_cast<float>(bits[j] >> shift & 3) - minimum;
    }
  }
};

/// 32 bytes of highest bits (bit g of byte i for weight i of group g of 32), 64 bytes of 2 bits as in Q2_K, 12 bytes of
/// 16 scales, d. Weights are d (scale - 32) (q - 4).
struct Q3_K : Sixteens<Q3_K> {
  static constexpr int kBytes = 110;

  static int scale(const std::uint8_t* s, int i) {
    return ((s[i % 8] >> (i / 8 * 4) & 15) | (s[8 + i % 4] >> (i / 4 * 2) & 3) << 4) - 32;
  }
  static void values(const std::uint8_t* block, float* out) {
    const float d = half_at(block + 108);
    for (int i = 0; i < kElements; i += 16) {
      const std::uint8_t* bits = block + 32 + i / 128 * 32 + i % 32;
      const int shift = i % 128 / 32 * 2, group = i / 32;
      const float step = d * static_cast<float>(scale(block + 96, i / 16));
      for (int j = 0; j < 16; ++j) {
        const int q = (bits[j] >> shift & 3) + (block[i % 32 + j] >> group & 1) * 4 - 4;
        out[i + j] = step * static_cast<float>(q);
      }
    }
  }
};

/// 128 bytes of 4 bits, 64 of 2 bits above them, 16 signed scales, d; in halves of 128 weights. Weights are
/// d scale (q - 32).
struct Q6_K : Sixteens<Q6_K> {
  static constexpr int kBytes = 210;

  static void values(const std::uint8_t* block, float* out) {
    const float d = half_at(block + 208);
    for (int i = 0; i < kElements; i += 16) {
      const int half = i / 128, group = i % 128 / 32;
      const std::uint8_t* low = block + half * 64 + i % 64;
      const std::uint8_t* high = block + 128 + half * 32 + i % 32;
      const float scale = d * static_cast<float>(static_cast<std::int8_t>(block[192 + i / 16]));
      const int low_shift = group / 2 * 4, high_shift = group * 2;
      for (int j = 0; j < 16; ++j) {
        const int q = (low[j] >> low_shift & 15) | (high[j] >> high_shift & 3) << 4;
        out[i + j] = scale * static_cast<float>(q - 32);
      }
    }
  }
};

/// Calls body(Format{}) with the struct of `format`.
template <class Body>
auto with_format(BlockFormat format, const Body& body) {
  switch (format) {
    case BlockFormat::kQ8_0:
      return body(Q8_0{});
    case BlockFormat::kQ4_0:
      return body(Nibbles<false, false>{});
    case BlockFormat::kQ4_1:
      return body(Nibbles<false, true>{});
    case BlockFormat::kQ5_0:
      return body(Nibbles<true, false>{});
    case BlockFormat::kQ5_1:
      return body(Nibbles<true, true>{});
    case BlockFormat::kQ2_K:
      return body(Q2_K{});
    case BlockFormat::kQ3_K:
      return body(Q3_K{});
    case BlockFormat::kQ4_K:
      return body(Groups<false>{});
    case BlockFormat::kQ5_K:
      return body(Groups<true>{});
    case BlockFormat::kQ6_K:
      return body(Q6_K{});
    default:
      return body(Iq4_Nl{});
  }
}

/// `rows` point at the blocks of up to kPanelRows rows. Block by block, so that a panel's lines are written while they
/// are in the nearest cache.
template <class Format>
void pack_panel(const std::uint8_t* rows, std::int64_t row_bytes, int n_rows, int k, std::uint8_t* panel) {
  constexpr int kStoredBlocks = Format::kElements / kBlock;
  for (int i = 0; i < k / Format::kElements; ++i) {
    for (int row = 0; row < n_rows; ++row) {
      StoredBlock stored[kStoredBlocks];
      Format::store(rows + row * row_bytes + static_cast<std::int64_t>(i) * Format::kBytes, stored);
      for (int s = 0; s < kStoredBlocks; ++s) put_block<Format::kStored>(panel, i * kStoredBlocks + s, row, stored[s]);
    }
  }
}

void pack_panels(BlockFormat from, int k, int n_rows, const std::uint8_t* rows, std::uint8_t* panels) {
  with_format(from, [&]<class Format>(Format) {
    const std::int64_t row_bytes = static_cast<std::int64_t>(k / Format::kElements) * Format::kBytes;
    const std::int64_t panel_bytes = layout::panel_bytes(Format::kStored, kBlock, layout::padded_k(k));
    for (int row = 0; row < n_rows; row += kPanelRows, panels += panel_bytes) {
      std::memset(panels, 0, panel_bytes);
      pack_panel<Format>(rows + row * row_bytes, row_bytes, n_rows - row < kPanelRows ? n_rows - row : kPanelRows, k,
                         panels);
    }
  });
}

/// A panel at a time, which pack_rows allows wherever the whole is allowed.
Status pack_through_floats(BlockFormat from, WeightType to, int n, int k, int first_row, int n_rows,
                           const std::uint8_t* rows, void* packed) try {
  const std::int64_t row_bytes = static_cast<std::int64_t>(k / elements_per_block(from)) * bytes_per_block(from);
  std::vector<float> values(static_cast<std::size_t>(kPanelRows) * k);
  for (int row = 0; row < n_rows; row += kPanelRows) {
    const int count = n_rows - row < kPanelRows ? n_rows - row : kPanelRows;
    dequantise(from, rows + row * row_bytes, static_cast<std::int64_t>(count) * k, values.data());
    const int group = layout::is_quantised(to) ? kBlock : 0;
    const Status status = pack_rows(to, group, n, k, first_row + row, count, values.data(), packed);
    if (status != Status::kOk) return status;
  }
  return Status::kOk;
} catch (const std::bad_alloc&) {
  return Status::kOutOfMemory;
}

}  // namespace

int elements_per_block(BlockFormat format) {
  return with_format(format, []<class Format>(Format) { return Format::kElements; });
}

int bytes_per_block(BlockFormat format) {
  return with_format(format, []<class Format>(Format) { return Format::kBytes; });
}

WeightType stored_type(BlockFormat format) {
  return with_format(format, []<class Format>(Format) { return Format::kStored; });
}

void dequantise(BlockFormat format, const void* blocks, std::int64_t n_elements, float* out) {
  const auto* block = static_cast<const std::uint8_t*>(blocks);
  with_format(format, [&]<class Format>(Format) {
    for (std::int64_t i = 0; i + Format::kElements <= n_elements; i += Format::kElements, block += Format::kBytes) {
      Format::values(block, out + i);
    }
  });
}

Status pack_blocks(BlockFormat from, WeightType to, int n, int k, int first_row, int n_rows, const void* rows,
                   void* packed) {
  // What pack_rows refuses is refused before anything is read.
  const int group = layout::is_quantised(to) ? kBlock : 0;
  const Status shapes = check_packing(to, group, n, k, first_row, n_rows);
  if (shapes != Status::kOk || k % elements_per_block(from) != 0) return Status::kBadShape;
  const auto* blocks = static_cast<const std::uint8_t*>(rows);
  if (to != stored_type(from)) return pack_through_floats(from, to, n, k, first_row, n_rows, blocks, packed);
  const std::int64_t panel_bytes = layout::panel_bytes(to, kBlock, layout::padded_k(k));
  pack_panels(from, k, n_rows, blocks, static_cast<std::uint8_t*>(packed) + first_row / kPanelRows * panel_bytes);
  return Status::kOk;
}

}  // namespace pipo::kernels
