/// Starts the products of several positions: chooses kernel, tiles and slices.
#include "kernels/cuda/launchers.h"

namespace pipo::cuda {
namespace {

constexpr int kUnsupportedShape = -1;  ///< no runtime error has a negative code

int skinny_tiles(const GemmArgs& args, bool gate_up) {
  return (args.w.n + skinny_rows(gate_up) - 1) / skinny_rows(gate_up);
}

/// How the products of few positions are cut; no slices where they would not fit in the workspace or in shared memory.
template <WeightType W, int Columns, bool GateUp>
bool plan_skinny(const Queue& queue, const GemmArgs& args, SkinnyPlan* plan) {
  // Two blocks share a multiprocessor, unless the inputs of many positions need the room.
  const int shared = Columns < 4 ? half_shared(queue) : queue.shared_bytes - (1 << 10);
  const int step_bytes = skinny_step_inputs(W) / 32 * Columns * kSkinnyBlockBytes;
  const int most_steps = (shared - skinny_fixed_bytes(W, Columns)) / step_bytes;
  const int steps = (args.w.k + skinny_step_inputs(W) - 1) / skinny_step_inputs(W);
  const int tiles = skinny_tiles(args, GateUp);
  if (most_steps < 1) return false;
  plan->slices = (steps + most_steps - 1) / most_steps;
  if (queue.workspace != nullptr && tiles * plan->slices < queue.multiprocessors) {
    // Too few rows for the device: more slices, each with work for all warps of a block.
    plan->slices = max(plan->slices, min((queue.multiprocessors + tiles - 1) / tiles, steps / kSkinnyWarps));
  }
  plan->steps = (steps + plan->slices - 1) / plan->slices;
  plan->slices = (steps + plan->steps - 1) / plan->steps;
  const int blocks = max(1, queue.multiprocessors * 2 / plan->slices);
  plan->tiles_per_block = (tiles + blocks - 1) / blocks;
  if (plan->slices == 1) return true;
  if (queue.workspace == nullptr) return false;
  plan->arrived = static_cast<unsigned*>(queue.workspace);
  plan->partials = reinterpret_cast<float*>(plan->arrived + kWorkspaceCounters);
  const std::int64_t partial_bytes = std::int64_t{plan->slices} * tiles * skinny_outputs(Columns) * 4;
  return partial_bytes <= static_cast<std::int64_t>(kWorkspaceBytes - kWorkspaceCounters * 4) &&
         (tiles + plan->tiles_per_block - 1) / plan->tiles_per_block <= static_cast<int>(kWorkspaceCounters);
}

template <WeightType W, int Columns, bool GateUp>
int skinny_of(const Queue& queue, const GemmArgs& args, bool* served) {
  SkinnyPlan plan;
  *served = plan_skinny<W, Columns, GateUp>(queue, args, &plan);
  if (!*served) return 0;
  const int tiles = skinny_tiles(args, GateUp);
  const int inputs = plan.steps * skinny_step_inputs(W) / 32 * Columns * kSkinnyBlockBytes;
  const Shape shape{dim3((tiles + plan.tiles_per_block - 1) / plan.tiles_per_block, plan.slices), dim3(kSkinnyThreads),
                    static_cast<std::size_t>(skinny_fixed_bytes(W, Columns) + inputs), queue.stream, queue.overlap};
  return launch(shape, skinny_kernel<W, Columns, GateUp>, args, plan);
}

/// Tiles of Y for every multiprocessor to hold two: with fewer, k is cut, as far as the partial sums have room and each
/// slice is long enough to be worth its start.
template <WeightType W, int Rows, bool GateUp>
int tiled_of(const Queue& queue, const GemmArgs& args) {
  constexpr int kLeastTiles = 8;
  const dim3 tiles((args.w.n + gemm_outputs(GateUp) - 1) / gemm_outputs(GateUp), (args.m + Rows - 1) / Rows);
  const int count = tiles.x * tiles.y, k_tiles = (args.w.k + kGemmK - 1) / kGemmK;
  GemmPlan plan;
  if (queue.workspace != nullptr && count <= static_cast<int>(kWorkspaceCounters)) {
    constexpr std::size_t kRoom = (kWorkspaceBytes - kWorkspaceCounters * 4) / (Rows * kGemmN * 4);
    const int most = min(queue.multiprocessors * 2, static_cast<int>(kRoom));
    plan.slices = max(1, min(most / count, k_tiles / kLeastTiles));
    plan.arrived = static_cast<unsigned*>(queue.workspace);
    plan.partials = reinterpret_cast<float*>(plan.arrived + kWorkspaceCounters);
  }
  plan.tiles = (k_tiles + plan.slices - 1) / plan.slices;
  plan.slices = (k_tiles + plan.tiles - 1) / plan.tiles;
  const Shape shape{dim3(tiles.x, tiles.y, plan.slices), dim3(kGemmThreads), kGemmStages * gemm_stage_bytes(Rows),
                    queue.stream, queue.overlap};
  return launch(shape, gemm_kernel<W, Rows, GateUp>, args, plan);
}

/// Where the narrow products end: a tile multiplies 64 positions at least, 128 operations per weight. At about 450 T/s
/// that takes as long as reading int8 at 3.5 TB/s, so that few positions would pay for many; and a tile has only 8 KB
/// of weights on their way. Up to 32 positions the narrow ones read less than they would wait for.
template <WeightType W, bool GateUp>
int gemm_of(const Queue& queue, const GemmArgs& args) {
  bool served = false;
  int failed = 0;
  if (args.m <= 8) failed = skinny_of<W, 1, GateUp>(queue, args, &served);
  else if (args.m <= 16) failed = skinny_of<W, 2, GateUp>(queue, args, &served);
  else if (args.m <= kSkinnyMost) failed = skinny_of<W, 4, GateUp>(queue, args, &served);
  if (served) return failed;
  // Tiles of 64 positions where they leave less unused.
  const bool narrow = args.m <= 64 || (args.m > 128 && args.m <= 192);
  return narrow ? tiled_of<W, 64, GateUp>(queue, args) : tiled_of<W, 128, GateUp>(queue, args);
}

template <WeightType W>
int gemm_or_gate_up(const Queue& queue, const GemmArgs& args) {
  return args.up.rows == nullptr ? gemm_of<W, false>(queue, args) : gemm_of<W, true>(queue, args);
}

bool alike(const Matrix& a, const Matrix& b) {
  return a.type == b.type && a.group == b.group && a.n == b.n && a.k == b.k;
}

}  // namespace

int gemm(const Queue& queue, const GemmArgs& args) {
  if (args.up.rows != nullptr && (!alike(args.w, args.up) || args.bias != nullptr || args.silu_output)) {
    return kUnsupportedShape;
  }
  switch (args.w.type) {
    case WeightType::kBf16: return gemm_or_gate_up<WeightType::kBf16>(queue, args);
    case WeightType::kInt8: return gemm_or_gate_up<WeightType::kInt8>(queue, args);
    case WeightType::kInt4: return gemm_or_gate_up<WeightType::kInt4>(queue, args);
    default: return kUnsupportedShape;
  }
}

}  // namespace pipo::cuda
