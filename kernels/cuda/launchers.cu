#include "kernels/cuda/launchers.h"

namespace pipo::cuda {
int prepare_rows(const Queue& queue, const RowsInput& args) {
  if (args.rows == 0) return 0;
  const bool halves = args.input == Input::kPairNorm || args.input == Input::kJointNorm;
  const bool needs_sum = halves || args.input == Input::kNorm;
  const std::int64_t wide = (halves ? args.k / 2 : args.k) | args.k_padded | args.x_stride | args.x2_stride | args.head_dim;
  const auto places = reinterpret_cast<std::uintptr_t>(args.x) | reinterpret_cast<std::uintptr_t>(args.x2) |
                      reinterpret_cast<std::uintptr_t>(args.norm) | reinterpret_cast<std::uintptr_t>(args.norm2);
  const bool quads = wide % 4 == 0 && places % 16 == 0;
  // A few rows are shared out, so that they do not wait for a few multiprocessors.
  constexpr int kShare = 2048;
  const int shares = needs_sum ? 1 : max(1, min((args.k + kShare - 1) / kShare, 4 * queue.multiprocessors / args.rows));
  const Shape shape{dim3(args.rows, shares), dim3(kPrepareThreads), 0, queue.stream, queue.overlap};
  return quads ? launch(shape, prepare_rows_kernel<4>, args) : launch(shape, prepare_rows_kernel<1>, args);
}

int repack(const Queue& queue, const void* panels, int first_row, int n_panels, std::int64_t panel_bytes,
           const Matrix& to) {
  const Shape shape{dim3(n_panels), dim3(256), 0, queue.stream};
  return launch(shape, repack_kernel, static_cast<const std::uint32_t*>(panels), first_row, panel_bytes, to);
}

int embed(const Queue& queue, const Matrix& table, const int* ids, int count, float* out, const int* enabled) {
  return launch({dim3(count), dim3(256), 0, queue.stream, queue.overlap}, embed_kernel, table, ids, out, enabled);
}

int rms_norm(const Queue& queue, const float* x, const float* w, float eps, int rows, int dim, float* y,
             const int* enabled) {
  return launch({dim3(rows), dim3(256), 0, queue.stream, queue.overlap}, rms_norm_kernel, x, w, eps, dim, y, enabled);
}

int sample(const Queue& queue, const SampleArgs& args) {
  const Shape shape{dim3(sample_blocks(args.vocab)), dim3(kSampleThreads), 0, queue.stream, queue.overlap};
  const int failed = launch(shape, sample_best_kernel, args);
  return failed != 0 || !args.draws ? failed : launch(shape, sample_draw_kernel, args);
}

}  // namespace pipo::cuda
