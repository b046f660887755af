/// Starts the products of single positions: chooses rows per warp, warps and grid.
#include "kernels/cuda/launchers.h"

namespace pipo::cuda {
namespace {

constexpr int kUnsupportedShape = -1;  ///< no runtime error has a negative code

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
         (args.input != Input::kGatedNorm || args.head_dim % kLeastGatedHead == 0) && args.input != Input::kSiluProduct;
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

}  // namespace pipo::cuda
