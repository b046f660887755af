#pragma once

#include "kernels/cpu/target.h"
#include "kernels/packed_layout.h"

/// What every way to multiply a tile of outputs and rows begins and ends with.
namespace pipo::kernels::cpu::PIPO_TARGET {

/// One tile: the same rows of input for `kPanels` neighbouring panels.
struct TileArgs {
  const std::uint8_t* panel;
  std::int64_t panel_bytes;
  int group;
  int first_vector;  ///< of each panel, where a tile takes less than all of them
  const MatmulInput* input;
  std::int32_t row;
  const MatmulTerm* term;
  std::int32_t first_output;
};

static inline void finish_vector(const TileArgs& args, int panel, int vector, int token, F32 sum) {
  const MatmulTerm& term = *args.term;
  const std::int32_t output = args.first_output + panel * kPanelRows + vector * kLanes;
  const std::int32_t left = term.w->n - output;
  if (left <= 0) return;
  const int count = left < kLanes ? left : kLanes;
  float* y = term.y + (args.row + token) * term.y_stride + output;
  if (term.bias != nullptr) sum = f32_add(sum, f32_load_first(term.bias + output, count));
  if (term.accumulate) sum = f32_add(sum, f32_load_first(y, count));
  f32_store_first(y, sum, count);
}

/// 16 bits for each lane, from a line of scales of one panel.
template <WeightType kType>
static inline F32 load_scales(const std::uint8_t* scales, int vector) {
  const auto* from = reinterpret_cast<const std::uint16_t*>(scales) + vector * kLanes;
  return kType == WeightType::kInt8 || kType == WeightType::kInt4 ? f32_load_bf16(from) : f32_load_f16(from);
}

}  // namespace pipo::kernels::cpu::PIPO_TARGET
