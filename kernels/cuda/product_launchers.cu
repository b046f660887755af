/// Starts the products: chooses kernel, rows per warp and grid.
#include "kernels/cuda/launchers.h"

namespace pipo::cuda {
namespace {

constexpr int kUnsupportedShape = -1;  ///< no runtime error has a negative code

/// Most shared memory of a block that lets two share a multiprocessor, where it has room for two worth having.
int half_shared(const Queue& queue) {
  constexpr int kStatic = 1 << 10, kLeast = 99 << 10;
  return min(max(queue.shared_bytes / 2 - kStatic, kLeast), queue.shared_bytes) - kStatic;
}

template <WeightType W, GemvRows Rows>
int gemv_with(const Queue& queue, const GemvArgs& args, int positions) {
  constexpr int kRing = gemv_ring_bytes(W, rows_together(Rows));
  const int units = GemvUnits<W, Rows>::total(args), blocks = min(queue.multiprocessors, units);
  const auto inputs = static_cast<int>(gemv_input_bytes(args.terms[0].w.k_padded, is_quantised(W)));
  int warps = min(kGemvWarps, (half_shared(queue) - inputs) / kRing);
  if (warps < 1) warps = min(kGemvWarps, (queue.shared_bytes - (1 << 10) - inputs) / kRing);
  if (warps < 1) return kUnsupportedShape;
  // As few warps as need no more rounds: then all have equally much to do, and none is left alone at the end.
  const int rounds = (units + warps * blocks - 1) / (warps * blocks);
  const int busy = (units + rounds * blocks - 1) / (rounds * blocks);
  const Shape shape{dim3(blocks, positions), dim3(warps * 32), static_cast<std::size_t>(warps * kRing + inputs),
                    queue.stream, queue.overlap};
  return launch(shape, gemv_kernel<W, Rows>, args, busy);
}

/// Two rows per warp read the input half as often; one where rows are few, so that enough warps have work.
template <WeightType W>
int gemv_of(const Queue& queue, const GemvArgs& args, int positions) {
  constexpr int kEnoughWarps = 8;
  if (args.gate_up) return gemv_with<W, GemvRows::kGateUp>(queue, args, positions);
  const bool two = GemvUnits<W, GemvRows::kTwo>::total(args) >= kEnoughWarps * queue.multiprocessors;
  return two ? gemv_with<W, GemvRows::kTwo>(queue, args, positions)
             : gemv_with<W, GemvRows::kOne>(queue, args, positions);
}

bool readable(const GemvArgs& args) {
  const bool halves = args.input == Input::kPairNorm || args.input == Input::kJointNorm;
  const auto places = reinterpret_cast<std::uintptr_t>(args.x) | reinterpret_cast<std::uintptr_t>(args.x2) |
                      reinterpret_cast<std::uintptr_t>(args.norm) | reinterpret_cast<std::uintptr_t>(args.norm2);
  return args.terms[0].w.k % (halves ? 8 : 4) == 0 && places % 16 == 0 && args.x_stride % 4 == 0 &&
         (args.input != Input::kGatedNorm || args.head_dim % 32 == 0) && args.input != Input::kSiluProduct;
}

/// How few positions are cut; no slices where they would not fit in the workspace or in shared memory.
template <WeightType W, int Columns>
bool plan_skinny(const Queue& queue, const GemmArgs& args, SkinnyPlan* plan) {
  // Two blocks share a multiprocessor, unless the inputs of many positions need the room.
  const int shared = Columns < 4 ? half_shared(queue) : queue.shared_bytes - (1 << 10);
  const int step_bytes = skinny_step_inputs(W) / 32 * Columns * kSkinnyBlockBytes;
  const int most_steps = (shared - skinny_fixed_bytes(W, Columns)) / step_bytes;
  const int steps = (args.w.k + skinny_step_inputs(W) - 1) / skinny_step_inputs(W);
  const int tiles = (args.w.n + kSkinnyRows - 1) / kSkinnyRows;
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

template <WeightType W, int Columns>
int skinny_of(const Queue& queue, const GemmArgs& args, bool* served) {
  SkinnyPlan plan;
  *served = plan_skinny<W, Columns>(queue, args, &plan);
  if (!*served) return 0;
  const int tiles = (args.w.n + kSkinnyRows - 1) / kSkinnyRows;
  const int inputs = plan.steps * skinny_step_inputs(W) / 32 * Columns * kSkinnyBlockBytes;
  const Shape shape{dim3((tiles + plan.tiles_per_block - 1) / plan.tiles_per_block, plan.slices), dim3(kSkinnyThreads),
                    static_cast<std::size_t>(skinny_fixed_bytes(W, Columns) + inputs), queue.stream, queue.overlap};
  return launch(shape, skinny_kernel<W, Columns>, args, plan);
}

/// Tiles of Y for every multiprocessor to hold two: with fewer, k is cut, as far as the partial sums have room and each
/// slice is long enough to be worth its start.
template <WeightType W, int Rows>
int tiled_of(const Queue& queue, const GemmArgs& args) {
  constexpr int kLeastTiles = 8;
  const dim3 tiles((args.w.n + kGemmN - 1) / kGemmN, (args.m + Rows - 1) / Rows);
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
  return launch(shape, gemm_kernel<W, Rows>, args, plan);
}

/// Where the narrow products end: a tile multiplies 64 positions at least, 128 operations per weight. At about 450 T/s
/// that takes as long as reading int8 at 3.5 TB/s, so that few positions would pay for many; and a tile has only 8 KB
/// of weights on their way. Up to 32 positions the narrow ones read less than they would wait for.
template <WeightType W>
int gemm_of(const Queue& queue, const GemmArgs& args) {
  bool served = false;
  int failed = 0;
  if (args.m <= 8) failed = skinny_of<W, 1>(queue, args, &served);
  else if (args.m <= 16) failed = skinny_of<W, 2>(queue, args, &served);
  else if (args.m <= kSkinnyMost) failed = skinny_of<W, 4>(queue, args, &served);
  if (served) return failed;
  // Tiles of 64 positions where they leave less unused.
  return args.m <= 64 || (args.m > 128 && args.m <= 192) ? tiled_of<W, 64>(queue, args) : tiled_of<W, 128>(queue, args);
}

}  // namespace

int gemv(const Queue& queue, const GemvArgs& args, int positions) {
  if (!readable(args)) return kUnsupportedShape;
  for (int t = 1; t < args.n_terms; ++t) {
    const Matrix &first = args.terms[0].w, &other = args.terms[t].w;
    if (first.type != other.type || first.k != other.k || first.group != other.group) return kUnsupportedShape;
  }
  switch (args.terms[0].w.type) {
    case WeightType::kF32: return gemv_of<WeightType::kF32>(queue, args, positions);
    case WeightType::kBf16: return gemv_of<WeightType::kBf16>(queue, args, positions);
    case WeightType::kInt8: return gemv_of<WeightType::kInt8>(queue, args, positions);
    case WeightType::kInt4: return gemv_of<WeightType::kInt4>(queue, args, positions);
  }
  return kUnsupportedShape;
}

int gemm(const Queue& queue, const GemmArgs& args) {
  switch (args.w.type) {
    case WeightType::kBf16: return gemm_of<WeightType::kBf16>(queue, args);
    case WeightType::kInt8: return gemm_of<WeightType::kInt8>(queue, args);
    case WeightType::kInt4: return gemm_of<WeightType::kInt4>(queue, args);
    default: return kUnsupportedShape;
  }
}

}  // namespace pipo::cuda
