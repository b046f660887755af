#pragma once

#include "kernels/cpu/ops/matmul_tile.h"
#include "kernels/cpu/unroll.h"
#include "kernels/packed_layout.h"
#if defined(__AMX_INT8__)
#include "kernels/cpu/ops/amx_matmul.h"
#endif

/// y = W x over packed panels: the weights are read once per pass as one sequential stream, the accumulators of a tile
/// of outputs x rows of input stay in registers, and nothing is summed across lanes.
namespace pipo::kernels::cpu::PIPO_TARGET {

inline constexpr int kPanelVectors = kPanelRows / kLanes;
/// A panel is one sequential stream; asking for it this far ahead is worth up to 10 % on one thread.
inline constexpr int kPrefetchBytes = 4096;

template <int kPanels, int kVectors, int kTokens>
static PIPO_INLINE void finish_tile(const TileArgs& args, const F32 (&sums)[kPanels * kVectors][kTokens]) {
  PIPO_UNROLL(8)
  for (int v = 0; v < kPanels * kVectors; ++v) {
    PIPO_UNROLL(8)
    for (int t = 0; t < kTokens; ++t) {
      finish_vector(args, v / kVectors, args.first_vector + v % kVectors, t, sums[v][t]);
    }
  }
}

/// Line kLine of a block's weights times the same inputs of every row.
template <class Dot, int kLine, int kPanels, int kVectors, int kTokens>
static PIPO_INLINE void add_line(const TileArgs& args, const std::uint8_t* block, const QuantizedBlock* x,
                                 std::int64_t x_stride, typename Dot::Sum (&sums)[kPanels * kVectors][kTokens]) {
  constexpr int kRows = kPanels * kVectors;
  typename Dot::Weights first[kRows], second[kRows];
  PIPO_UNROLL(8)
  for (int v = 0; v < kRows; ++v) {
    Dot::template load<kLine>(block + (v / kVectors) * args.panel_bytes, args.first_vector + v % kVectors, &first[v],
                              &second[v]);
  }
  PIPO_UNROLL(8)
  for (int t = 0; t < kTokens; ++t) {
    const std::int8_t* q = x[t * x_stride].q + 4 * kLine;
    PIPO_UNROLL(8)
    for (int v = 0; v < kRows; ++v) sums[v][t] = Dot::template add<0>(sums[v][t], first[v], q);
    PIPO_UNROLL(8)
    for (int v = 0; v < kRows; ++v) sums[v][t] = Dot::template add<1>(sums[v][t], second[v], q + 16);
  }
}

/// One block of 32 inputs: whole numbers within the block, fp32 from block to block.
template <class Dot, int kPanels, int kVectors, int kTokens>
static PIPO_INLINE void add_block(const TileArgs& args, const std::uint8_t* block, const QuantizedBlock* x,
                                  std::int64_t x_stride, const F32 (&scales)[kPanels * kVectors],
                                  F32 (&sums)[kPanels * kVectors][kTokens]) {
  constexpr int kRows = kPanels * kVectors;
  typename Dot::Sum inner[kRows][kTokens];
  PIPO_UNROLL(8)
  for (int v = 0; v < kRows; ++v) {
    PIPO_UNROLL(8)
    for (int t = 0; t < kTokens; ++t) inner[v][t] = Dot::start(x[t * x_stride]);
  }
  add_line<Dot, 0, kPanels, kVectors, kTokens>(args, block, x, x_stride, inner);
  add_line<Dot, 1, kPanels, kVectors, kTokens>(args, block, x, x_stride, inner);
  add_line<Dot, 2, kPanels, kVectors, kTokens>(args, block, x, x_stride, inner);
  add_line<Dot, 3, kPanels, kVectors, kTokens>(args, block, x, x_stride, inner);
  PIPO_UNROLL(8)
  for (int t = 0; t < kTokens; ++t) {
    const F32 x_scale = f32_set1(x[t * x_stride].scale);
    PIPO_UNROLL(8)
    for (int v = 0; v < kRows; ++v) {
      const F32 whole = f32_from_i32(Dot::finish(inner[v][t], x[t * x_stride]));
      sums[v][t] = f32_fma(whole, f32_mul(scales[v], x_scale), sums[v][t]);
    }
  }
}

/// One panel is read as a stream; of several, the lines are in the cache already.
template <int kPanels, std::int64_t kBytes>
static PIPO_INLINE void prefetch_block(const std::uint8_t* block) {
  if constexpr (kPanels == 1) {
    PIPO_UNROLL(8)
    for (int line = 0; line < kBytes; line += layout::kLineBytes) prefetch(block + kPrefetchBytes + line);
  }
}

/// int8, int4 and Q8 weights.
template <class Dot, WeightType kType>
struct QuantizedTile {
  template <int kPanels, int kVectors, int kTokens>
  static void run(const TileArgs& args) {
    constexpr int kRows = kPanels * kVectors;
    constexpr std::int64_t kBlockBytes = layout::kBlock * kPanelRows / (kType == WeightType::kInt4 ? 2 : 1);
    const int n_blocks = args.input->k_padded / layout::kBlock;
    const int group_blocks = args.group / layout::kBlock;
    const std::int64_t x_stride = n_blocks;
    const QuantizedBlock* x = args.input->blocks + args.row * x_stride;
    const QuantizedBlock* const x_end = x + n_blocks;
    const std::uint8_t* block = args.panel;
    const std::uint8_t* scale_line = block;
    F32 sums[kRows][kTokens];
    PIPO_UNROLL(8)
    for (int v = 0; v < kRows; ++v) {
      PIPO_UNROLL(8)
      for (int t = 0; t < kTokens; ++t) sums[v][t] = f32_zero();
    }
    for (int half = 0; x < x_end; half ^= 1) {
      if (half == 0) {
        scale_line = block;
        block += layout::kLineBytes;
      }
      F32 scales[kRows];
      PIPO_UNROLL(8)
      for (int v = 0; v < kRows; ++v) {
        const std::uint8_t* line = scale_line + (v / kVectors) * args.panel_bytes + half * (layout::kLineBytes / 2);
        scales[v] = load_scales<kType>(line, args.first_vector + v % kVectors);
      }
      for (int i = 0; i < group_blocks; ++i) {
        prefetch_block<kPanels, kBlockBytes>(block);
        add_block<Dot, kPanels, kVectors, kTokens>(args, block, x, x_stride, scales, sums);
        block += kBlockBytes;
        ++x;
      }
    }
    finish_tile<kPanels, kVectors, kTokens>(args, sums);
  }
};

/// Q5 and Q4 weights: before every block its scales and minimums, which meet the sum of the inputs.
template <class Dot, WeightType kType>
struct MinimumTile {
  template <int kPanels, int kVectors, int kTokens>
  static void run(const TileArgs& args) {
    constexpr int kRows = kPanels * kVectors;
    constexpr std::int64_t kBlockBytes = layout::kLineBytes * (kType == WeightType::kQ5 ? 6 : 5);
    const std::int64_t x_stride = args.input->k_padded / layout::kBlock;
    const QuantizedBlock* x = args.input->blocks + args.row * x_stride;
    const QuantizedBlock* const x_end = x + x_stride;
    F32 sums[kRows][kTokens];
    PIPO_UNROLL(8)
    for (int v = 0; v < kRows; ++v) {
      PIPO_UNROLL(8)
      for (int t = 0; t < kTokens; ++t) sums[v][t] = f32_zero();
    }
    for (const std::uint8_t* block = args.panel; x < x_end; ++x, block += kBlockBytes) {
      prefetch_block<kPanels, kBlockBytes>(block);
      F32 scales[kRows];
      PIPO_UNROLL(8)
      for (int v = 0; v < kRows; ++v) {
        scales[v] = load_scales<kType>(block + (v / kVectors) * args.panel_bytes, args.first_vector + v % kVectors);
      }
      add_block<Dot, kPanels, kVectors, kTokens>(args, block + layout::kLineBytes, x, x_stride, scales, sums);
      PIPO_UNROLL(8)
      for (int v = 0; v < kRows; ++v) {
        const F32 minimums = load_scales<kType>(block + (v / kVectors) * args.panel_bytes + layout::kMinimumAfterScale,
                                                args.first_vector + v % kVectors);
        PIPO_UNROLL(8)
        for (int t = 0; t < kTokens; ++t) {
          sums[v][t] = f32_fma(minimums, f32_set1(x[t * x_stride].scaled_sum), sums[v][t]);
        }
      }
    }
    finish_tile<kPanels, kVectors, kTokens>(args, sums);
  }
};

/// fp32 and bf16 weights. Small tiles have several sums per output, to hide the latency of the multiply-adds.
template <class Dot>
struct FloatTile {
  template <int kPanels, int kVectors, int kTokens>
  static void run(const TileArgs& args) {
    constexpr int kRows = kPanels * kVectors;
    constexpr int kLines = kRows * kTokens <= 2 ? 4 : (kRows * kTokens <= 4 ? 2 : 1);
    const std::int64_t x_stride = args.input->k_padded;
    const typename Dot::Input* x = Dot::input(*args.input) + args.row * x_stride;
    const typename Dot::Input* const x_end = x + x_stride;
    const std::uint8_t* line = args.panel;
    F32 sums[kLines][kRows][kTokens];
    PIPO_UNROLL(64)
    for (int i = 0; i < kLines * kRows * kTokens; ++i) {
      sums[i / (kRows * kTokens)][i / kTokens % kRows][i % kTokens] = f32_zero();
    }
    for (; x < x_end; x += kLines * Dot::kInputs, line += kLines * layout::kLineBytes) {
      PIPO_UNROLL(4)
      for (int u = 0; u < kLines; ++u) {
        typename Dot::Weights w[kRows];
        PIPO_UNROLL(8)
        for (int v = 0; v < kRows; ++v) {
          w[v] = Dot::load(line + u * layout::kLineBytes + (v / kVectors) * args.panel_bytes,
                           args.first_vector + v % kVectors);
        }
        if constexpr (kPanels == 1) prefetch(line + u * layout::kLineBytes + kPrefetchBytes);
        PIPO_UNROLL(8)
        for (int t = 0; t < kTokens; ++t) {
          PIPO_UNROLL(8)
          for (int v = 0; v < kRows; ++v) {
            sums[u][v][t] = Dot::add(sums[u][v][t], w[v], x + t * x_stride + u * Dot::kInputs);
          }
        }
      }
    }
    F32 total[kRows][kTokens];
    PIPO_UNROLL(64)
    for (int i = 0; i < kRows * kTokens; ++i) {
      const int v = i / kTokens, t = i % kTokens;
      total[v][t] = sums[0][v][t];
      PIPO_UNROLL(4)
      for (int u = 1; u < kLines; ++u) total[v][t] = f32_add(total[v][t], sums[u][v][t]);
    }
    finish_tile<kPanels, kVectors, kTokens>(args, total);
  }
};

/// The tile for `tokens` rows, at most kMost.
template <class Tile, int kPanels, int kVectors, int kMost>
static void run_tile(int tokens, const TileArgs& args) {
  if (tokens == kMost) {
    Tile::template run<kPanels, kVectors, kMost>(args);
  } else if constexpr (kMost > 1) {
    run_tile<Tile, kPanels, kVectors, kMost - 1>(tokens, args);
  }
}

/// Few rows: each panel passes by once.
template <class Tile>
static void run_narrow(TileArgs args, std::int32_t panels, int tokens) {
  for (std::int32_t p = 0; p < panels; ++p) {
    run_tile<Tile, 1, kPanelVectors, kNarrowTokens>(tokens, args);
    args.panel += args.panel_bytes;
    args.first_output += kPanelRows;
  }
}

/// Many rows: the panels, few enough for the second-level cache, stay there while the rows pass by tile by tile.
template <class Tile>
static void run_wide(const TileArgs& first, std::int32_t panels, int tokens) {
  for (int t = 0; t < tokens; t += kWideTokens) {
    const int count = tokens - t < kWideTokens ? tokens - t : kWideTokens;
    TileArgs args = first;
    args.row += t;
    for (std::int32_t p = 0; p < panels;) {
      const int width = panels - p >= kWidePanels ? kWidePanels : 1;
      for (args.first_vector = 0; args.first_vector < kPanelVectors; args.first_vector += kWideVectors) {
        if (width == kWidePanels) {
          run_tile<Tile, kWidePanels, kWideVectors, kWideTokens>(count, args);
        } else {
          run_tile<Tile, 1, kWideVectors, kWideTokens>(count, args);
        }
      }
      p += width;
      args.panel += width * args.panel_bytes;
      args.first_output += width * kPanelRows;
    }
  }
}

template <class Tile>
static void run_panels(const TileArgs& args, std::int32_t panels, int tokens) {
  if (tokens <= kNarrowTokens) {
    run_narrow<Tile>(args, panels, tokens);
  } else {
    run_wide<Tile>(args, panels, tokens);
  }
}

/// Quantised weights: Tile for few rows, and for many where there is no matrix unit.
template <class Tile, class Dot, WeightType kType>
static void run_quantised(const TileArgs& args, std::int32_t panels, int tokens) {
#if defined(__AMX_INT8__)
  if (args.input->row_tile > 1) return run_amx<Dot, kType>(args, panels, tokens);
#endif
  run_panels<Tile>(args, panels, tokens);
}

static void matmul_panels(const MatmulTerm& term, const MatmulInput& input, std::int32_t panel_begin,
                          std::int32_t panel_end, std::int32_t row_begin, std::int32_t row_end) {
  const PackedMatrix& w = *term.w;
  TileArgs args;
  args.panel_bytes = layout::panel_bytes(w.type, w.group, input.k_padded);
  args.panel = static_cast<const std::uint8_t*>(w.data) + panel_begin * args.panel_bytes;
  args.group = w.group;
  args.first_vector = 0;
  args.input = &input;
  args.row = row_begin;
  args.term = &term;
  args.first_output = panel_begin * kPanelRows;
  const std::int32_t panels = panel_end - panel_begin;
  const int tokens = row_end - row_begin;
  switch (w.type) {
    case WeightType::kF32:
      return run_panels<FloatTile<F32Dot>>(args, panels, tokens);
    case WeightType::kBf16:
      return run_panels<FloatTile<Bf16Dot>>(args, panels, tokens);
    case WeightType::kInt8:
      return run_quantised<QuantizedTile<Int8Dot, WeightType::kInt8>, Int8Dot, WeightType::kInt8>(args, panels, tokens);
    case WeightType::kInt4:
      return run_quantised<QuantizedTile<Int4Dot, WeightType::kInt4>, Int4Dot, WeightType::kInt4>(args, panels, tokens);
    case WeightType::kQ8:
      return run_quantised<QuantizedTile<Int8Dot, WeightType::kQ8>, Int8Dot, WeightType::kQ8>(args, panels, tokens);
    case WeightType::kQ5:
      return run_quantised<MinimumTile<Q5Dot, WeightType::kQ5>, Q5Dot, WeightType::kQ5>(args, panels, tokens);
    case WeightType::kQ4:
      return run_quantised<MinimumTile<Q4Dot, WeightType::kQ4>, Q4Dot, WeightType::kQ4>(args, panels, tokens);
  }
}

}  // namespace pipo::kernels::cpu::PIPO_TARGET
