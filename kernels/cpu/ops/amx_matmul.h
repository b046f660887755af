#pragma once

#include "kernels/cpu/ops/matmul_tile.h"
#include "kernels/cpu/simd/avx512.h"
#include "kernels/cpu/unroll.h"
#include "kernels/packed_layout.h"

/// Products of many rows with quantised weights on the matrix unit (AMX). The whole numbers of a block of 32 inputs are
/// one instruction for 16 rows and a panel's 16 outputs, where vectors need 128; what it leaves is brought to fp32 with
/// the same operations in the same order as in matmul.h, so that a row's result has the same bits.
namespace pipo::kernels::cpu::PIPO_TARGET {

/// Rows of input in one matrix tile.
inline constexpr int kAmxRows = kRowTile;
/// Tiles that share the weights once these are in tile registers: more make the unpacking cheaper, fewer keep the rows'
/// inputs in the second-level cache.
inline constexpr int kAmxMostTiles = 8;
inline constexpr int kLineNumbers = 8 * layout::kLineBytes;  ///< bytes of a block's weights, one each

struct alignas(64) AmxTileShapes {
  std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
  /// 0...3: two blocks of weights of two panels, 8 quads of inputs x 16 outputs; 4, 5: the rows' inputs in these
  /// blocks; 6, 7: their products.
  std::uint16_t row_bytes[16] = {64, 64, 64, 64, 32, 32, 64, 64};
  std::uint8_t rows[16] = {8, 8, 8, 8, 16, 16, 16, 16};
};

/// The compiler does not see what tiles read: everything written so far has to be in memory.
static inline void finish_writing() { asm volatile("" ::: "memory"); }

/// What one pass of a pair of panels works with; all of it stays in the nearest cache.
struct alignas(64) AmxScratch {
  std::uint8_t weights[2][2][kLineNumbers];             ///< [panel, block]
  std::int32_t products[2][kAmxRows][kPanelRows];       ///< [block, row, output]
  float sums[2][kAmxMostTiles * kAmxRows][kPanelRows];  ///< [panel, row, output]
};

/// A block's lines as signed bytes, one for each weight: as they are, or unpacked to `to`.
template <class Dot, WeightType kType, int kLine = 0>
static inline const std::uint8_t* signed_lines(const std::uint8_t* block, std::uint8_t* to) {
  if constexpr (kType == WeightType::kInt8 || kType == WeightType::kQ8) {
    return block;
  } else if constexpr (kLine == 4) {
    return to;
  } else {
    __m512i first, second;
    Dot::template load<kLine>(block, 0, &first, &second);
    if constexpr (kType == WeightType::kInt4) {
      const __m512i eight = _mm512_set1_epi8(8);
      first = _mm512_sub_epi8(first, eight);
      second = _mm512_sub_epi8(second, eight);
    }
    _mm512_store_si512(to + kLine * layout::kLineBytes, first);
    _mm512_store_si512(to + (kLine + 4) * layout::kLineBytes, second);
    return signed_lines<Dot, kType, kLine + 1>(block, to);
  }
}

/// Scales and minimums of two neighbouring blocks of a panel.
struct AmxScales {
  F32 scale[2], minimum[2];
};

template <WeightType kType>
static inline AmxScales amx_scales(const std::uint8_t* panel, int group, int block) {
  AmxScales out;
  for (int b = 0; b < 2; ++b) {
    const int index = group == layout::kBlock ? block + b : (block + b) / 2;
    const std::uint8_t* scales = panel + layout::scale_offset(kType, group, index, 0);
    out.scale[b] = load_scales<kType>(scales, 0);
    if (layout::has_minimum(kType)) out.minimum[b] = load_scales<kType>(scales + layout::kMinimumAfterScale, 0);
  }
  return out;
}

/// sums [row, output] += the products of two blocks in fp32.
template <bool kMinimum>
static PIPO_INLINE void add_products(const AmxScratch& scratch, const QuantizedBlock* x, const AmxScales& scales,
                                     float (*sums)[kPanelRows]) {
  PIPO_UNROLL(4)
  for (int i = 0; i < kAmxRows; ++i, ++x) {
    F32 sum = f32_load(sums[i]);
    PIPO_UNROLL(2)
    for (int b = 0; b < 2; ++b) {
      const F32 whole = f32_from_i32(_mm512_load_si512(scratch.products[b][i]));
      sum = f32_fma(whole, f32_mul(scales.scale[b], f32_set1(x[b * kAmxRows].scale)), sum);
      if (kMinimum) sum = f32_fma(scales.minimum[b], f32_set1(x[b * kAmxRows].scaled_sum), sum);
    }
    f32_store(sums[i], sum);
  }
}

/// The tile registers of kPanel's weights times those of the rows, on their way while the caller does something else.
template <int kPanel>
static inline void start_products() {
  _tile_zero(6);
  _tile_zero(7);
  if constexpr (kPanel == 0) {
    _tile_dpbssd(6, 4, 0);
    _tile_dpbssd(7, 5, 1);
  } else {
    _tile_dpbssd(6, 4, 2);
    _tile_dpbssd(7, 5, 3);
  }
}

static inline void store_products(AmxScratch& scratch) {
  _tile_stored(6, scratch.products[0], layout::kLineBytes);
  _tile_stored(7, scratch.products[1], layout::kLineBytes);
  finish_writing();
}

static inline void load_rows(const QuantizedBlock* x) {
  _tile_loadd(4, x[0].q, sizeof(QuantizedBlock));
  _tile_loadd(5, x[kAmxRows].q, sizeof(QuantizedBlock));
}

/// Tiles [first_tile, first_tile + tiles) of the rows for kPanels neighbouring panels.
template <class Dot, WeightType kType, int kPanels>
static void amx_pass(const TileArgs& args, int first_tile, int tiles, int tokens, AmxScratch& scratch) {
  constexpr bool kMinimum = kType == WeightType::kQ5 || kType == WeightType::kQ4;
  const int n_blocks = args.input->k_padded / layout::kBlock;  // an even number
  const int first_row = args.row + first_tile * kAmxRows;
  const std::int64_t tile_blocks = static_cast<std::int64_t>(n_blocks) * kAmxRows;
  const QuantizedBlock* const rows = args.input->blocks + first_row / kAmxRows * tile_blocks;
  for (int p = 0; p < kPanels; ++p) __builtin_memset(scratch.sums[p], 0, sizeof(float) * kPanelRows * kAmxRows * tiles);
  for (int block = 0; block < n_blocks; block += 2) {
    const std::uint8_t* lines[kPanels][2];
    AmxScales scales[kPanels];
    for (int p = 0; p < kPanels; ++p) {
      const std::uint8_t* panel = args.panel + p * args.panel_bytes;
      for (int b = 0; b < 2; ++b) {
        const std::uint8_t* from = panel + layout::block_offset(kType, args.group, block + b);
        lines[p][b] = signed_lines<Dot, kType>(from, scratch.weights[p][b]);
      }
      scales[p] = amx_scales<kType>(panel, args.group, block);
    }
    finish_writing();
    _tile_loadd(0, lines[0][0], layout::kLineBytes);
    _tile_loadd(1, lines[0][1], layout::kLineBytes);
    if constexpr (kPanels == 2) {
      _tile_loadd(2, lines[1][0], layout::kLineBytes);
      _tile_loadd(3, lines[1][1], layout::kLineBytes);
    }
    // The matrix unit works on the next products while vectors bring the last ones to fp32.
    load_rows(rows + block * kAmxRows);
    start_products<0>();
    for (int t = 0; t < tiles; ++t) {
      const QuantizedBlock* x = rows + t * tile_blocks + block * kAmxRows;
      store_products(scratch);
      if constexpr (kPanels == 2) {
        start_products<1>();
        add_products<kMinimum>(scratch, x, scales[0], scratch.sums[0] + t * kAmxRows);
        finish_writing();
        store_products(scratch);
      }
      if (t + 1 < tiles) {
        load_rows(x + tile_blocks);
        start_products<0>();
      }
      add_products<kMinimum>(scratch, x, scales[kPanels - 1], scratch.sums[kPanels - 1] + t * kAmxRows);
      finish_writing();
    }
  }
  const int done = first_tile * kAmxRows, left = tokens - done;
  for (int i = 0; i < left && i < tiles * kAmxRows; ++i) {
    for (int p = 0; p < kPanels; ++p) finish_vector(args, p, 0, done + i, f32_load(scratch.sums[p][i]));
  }
}

/// The input's rows are interleaved in tiles (MatmulInput::row_tile); args.row is the first of one.
template <class Dot, WeightType kType>
static void run_amx(TileArgs args, std::int32_t panels, int tokens) {
  static constexpr AmxTileShapes kShapes;
  AmxScratch scratch;
  const int tiles = (tokens + kAmxRows - 1) / kAmxRows;
  const int passes = (tiles + kAmxMostTiles - 1) / kAmxMostTiles;
  _tile_loadconfig(&kShapes);
  for (int pass = 0; pass < passes; ++pass) {
    const int first = tiles * pass / passes, count = tiles * (pass + 1) / passes - first;
    TileArgs at = args;
    for (std::int32_t p = 0; p < panels; p += 2) {
      if (panels - p >= 2) {
        amx_pass<Dot, kType, 2>(at, first, count, tokens, scratch);
      } else {
        amx_pass<Dot, kType, 1>(at, first, count, tokens, scratch);
      }
      at.panel += 2 * at.panel_bytes;
      at.first_output += 2 * kPanelRows;
    }
  }
  _tile_release();
}

}  // namespace pipo::kernels::cpu::PIPO_TARGET
