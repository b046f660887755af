#pragma once

#include "kernels/cuda/attention.cuh"
#include "kernels/cuda/attention_rows.cuh"
#include "kernels/cuda/attention_tiles.cuh"
#include "kernels/cuda/delta_chunk_state.cuh"
#include "kernels/cuda/delta_chunks.cuh"
#include "kernels/cuda/delta_net.cuh"
#include "kernels/cuda/delta_scan.cuh"
#include "kernels/cuda/gemm.cuh"
#include "kernels/cuda/gemv.cuh"
#include "kernels/cuda/repack.cuh"
#include "kernels/cuda/rows.cuh"
#include "kernels/cuda/sample_draw.cuh"
#include "kernels/cuda/skinny.cuh"

/// Host functions that start kernels. Each returns the runtime's error code, 0 for success.
namespace pipo::cuda {

/// What a launch goes to.
struct Queue {
  Stream stream = {};
  int multiprocessors = 1;
  bool overlap = false;  ///< programmatic dependent launch
  int shared_bytes = 99 << 10;  ///< most shared memory of a block: this much on every device from sm_80 on
  /// kWorkspaceBytes of device memory, zeroed once, for the launches of this stream alone; null: products of several
  /// positions do not cut k into slices, which is slower for few positions and few rows.
  void* workspace = nullptr;
};
/// Counters, then partial sums.
inline constexpr std::size_t kWorkspaceCounters = 4096;
inline constexpr std::size_t kWorkspaceBytes = kWorkspaceCounters * 4 + (std::size_t{16} << 20);

/// Most shared memory of a block that lets two share a multiprocessor, where it has room for two worth having.
inline int half_shared(const Queue& queue) {
  constexpr int kStatic = 1 << 10, kLeast = 99 << 10;
  return min(max(queue.shared_bytes / 2 - kStatic, kLeast), queue.shared_bytes) - kStatic;
}

int gemv(const Queue& queue, const GemvArgs& args, int positions = 1);
/// Several positions, any number of them; weights in bf16, int8 or int4. Reads them once for up to 32 positions.
int gemm(const Queue& queue, const GemmArgs& args);
/// fp32 rows to bf16 rows as gemm reads them, normed or gated on the way.
int prepare_rows(const Queue& queue, const RowsInput& args);
int repack(const Queue& queue, const void* panels, int first_row, int n_panels, std::int64_t panel_bytes,
           const Matrix& to);
int embed(const Queue& queue, const Matrix& table, const int* ids, int count, float* out, const int* enabled);
int rms_norm(const Queue& queue, const float* x, const float* w, float eps, int rows, int dim, float* y,
             const int* enabled);
int delta_net_step(const Queue& queue, const DeltaStepArgs& args);
int attention_step(const Queue& queue, const AttentionStepArgs& args);
/// Appends `rows` positions to the cache and attends from them.
int attention_rows(const Queue& queue, const AttentionRowsArgs& args);
/// Cosines and sines of position `*position + offset` for attention_step.
int rotation(const Queue& queue, const float* inv_freq, int half, const int* position, int offset, float* rotation);
int sample(const Queue& queue, const SampleArgs& args);

}  // namespace pipo::cuda
