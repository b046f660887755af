/// Starts the products of single positions: chooses rows per warp, warps and grid.
#include <algorithm>

#include "kernels/cuda/launchers.h"

namespace pipo::cuda {
namespace {

constexpr int kUnsupportedShape = -1;  ///< no runtime error has a negative code

template <WeightType W, GemvRows Rows>
int gemv_with(const Queue& queue, const GemvArgs& args, int positions) {
  constexpr int kRing = gemv_ring_bytes(W, rows_together(Rows));
  const int units = GemvUnits<W, Rows>::total(args), blocks = min(queue.multiprocessors, units);
  const auto inputs = static_cast<int>(gemv_input_bytes(args.terms[0].w.k_padded, is_quantised(W), args.n_side > 0));
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
         (args.input != Input::kGatedNorm || args.head_dim % kLeastGatedHead == 0) && args.input != Input::kSiluProduct;
}

/// Puts rows of fp32 behind those of another type; whether one launch can make them all.
bool arrange(GemvArgs* args) {
  const auto is_main = [](const GemvTerm& t) { return t.w.type != WeightType::kF32; };
  GemvTerm* const end = args->terms + args->n_terms;
  const auto sides = static_cast<int>(end - std::stable_partition(args->terms, end, is_main));
  if (sides < args->n_terms) {
    args->n_side = sides;
    args->n_terms -= sides;
  }
  const Matrix& first = args->terms[0].w;
  for (int t = 1; t < args->n_terms + args->n_side; ++t) {
    const Matrix& other = args->terms[t].w;
    const bool side = t >= args->n_terms;
    if (other.k != first.k || (!side && (other.type != first.type || other.group != first.group))) return false;
  }
  return args->n_side == 0 || !args->gate_up;
}

}  // namespace

int gemv(const Queue& queue, const GemvArgs& asked, int positions) {
  GemvArgs args = asked;
  if (!arrange(&args) || !readable(args)) return kUnsupportedShape;
  switch (args.terms[0].w.type) {
    case WeightType::kF32: return gemv_of<WeightType::kF32>(queue, args, positions);
    case WeightType::kBf16: return gemv_of<WeightType::kBf16>(queue, args, positions);
    case WeightType::kInt8: return gemv_of<WeightType::kInt8>(queue, args, positions);
    case WeightType::kInt4: return gemv_of<WeightType::kInt4>(queue, args, positions);
  }
  return kUnsupportedShape;
}

}  // namespace pipo::cuda
