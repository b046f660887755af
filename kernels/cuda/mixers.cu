#include "kernels/cuda/launchers.h"

/// Launches of attention and of the gated delta rule.
namespace pipo::cuda {
namespace {

constexpr int kUnsupportedShape = -1;  ///< no runtime error has a negative code

template <int HeadDim, bool F32>
int attention_of(const Queue& queue, const AttentionStepArgs& args) {
  const Shape shape{dim3(args.n_kv_heads, args.splits), dim3(kAttentionThreads), 0, queue.stream, queue.overlap};
  switch (args.n_heads / args.n_kv_heads) {
    case 1: return launch(shape, attention_step_kernel<HeadDim, 1, F32>, args);
    case 2: return launch(shape, attention_step_kernel<HeadDim, 2, F32>, args);
    case 4: return launch(shape, attention_step_kernel<HeadDim, 4, F32>, args);
    default: return kUnsupportedShape;
  }
}

/// Few rows leave multiprocessors without work: their positions are shared out.
template <int HeadDim, int Warps, int Positions>
int attention_tiles_of(const Queue& queue, const AttentionRowsArgs& args) {
  using Tile = AttentionTile<HeadDim, Warps, Positions>;
  constexpr int kLeastShare = 128;
  const int group = args.n_heads / args.n_kv_heads, rows_each = Tile::kRows / group;
  if (rows_each == 0) return kUnsupportedShape;
  const int tiles = (args.rows + rows_each - 1) / rows_each;
  const int span = args.rows + args.first_position - args.first_visible;
  const int wanted = queue.multiprocessors * (kMostTileRows / Tile::kRows) / (tiles * args.n_kv_heads);
  const int splits = args.partial == nullptr ? 1 : max(1, min(min(wanted, span / kLeastShare), kMostSplits));
  const Shape shape{dim3(tiles, args.n_kv_heads, splits), dim3(Tile::kThreads), Tile::kSharedBytes, queue.stream,
                    queue.overlap};
  const int failed = launch(shape, attention_tiles_kernel<HeadDim, Warps, Positions>, args);
  if (failed != 0 || splits == 1) return failed;
  return launch({dim3(args.n_heads, args.rows), dim3(HeadDim), 0, queue.stream, queue.overlap},
                attention_join_kernel<HeadDim>, args, splits);
}

template <int HeadDim>
int attention_rows_of(const Queue& queue, const AttentionRowsArgs& args) {
  const Shape append{dim3(args.rows), dim3(kAppendThreads), 0, queue.stream, queue.overlap};
  const int failed = args.kv_f32 ? launch(append, attention_append_kernel<HeadDim, true>, args)
                                 : launch(append, attention_append_kernel<HeadDim, false>, args);
  if (failed != 0 || args.q_gate == nullptr) return failed;
  if (args.kv_f32) {
    const Shape shape{dim3(args.n_heads, args.rows), dim3(kAttentionThreads), 0, queue.stream, queue.overlap};
    return launch(shape, attention_rows_plain_kernel<HeadDim>, args);
  }
  if (args.rows * (args.n_heads / args.n_kv_heads) <= 64) return attention_tiles_of<HeadDim, 4, 64>(queue, args);
  if constexpr (HeadDim == 256) {
    const bool fits = queue.shared_bytes >= AttentionTile<256, 8, 64>::kSharedBytes;
    if (!fits) return attention_tiles_of<256, 8, 32>(queue, args);
  }
  return attention_tiles_of<HeadDim, 8, 64>(queue, args);
}

template <int RowsPerLane>
int delta_step_of(const Queue& queue, const DeltaStepArgs& args) {
  const int slices = (args.shape.value_dim + kDeltaBlockColumns - 1) / kDeltaBlockColumns;
  const Shape shape{dim3(args.shape.n_value_heads, slices), dim3(kDeltaThreads), 0, queue.stream, queue.overlap};
  return launch(shape, delta_step_kernel<RowsPerLane>, args);
}

int delta_scan(const Queue& queue, const DeltaStepArgs& args) {
  const int slices = (args.shape.value_dim + kScanColumns - 1) / kScanColumns;
  const Shape shape{dim3(args.shape.n_value_heads, slices), dim3(kDeltaThreads), 0, queue.stream};
  if (args.shape.key_dim <= 16) return launch(shape, delta_scan_kernel<1>, args);
  if (args.shape.key_dim <= 32) return launch(shape, delta_scan_kernel<2>, args);
  if (args.shape.key_dim <= 64) return launch(shape, delta_scan_kernel<4>, args);
  return launch(shape, delta_scan_kernel<8>, args);
}

template <int KeyDim>
int delta_chunks(const Queue& queue, const DeltaStepArgs& args) {
  const int chunks = (args.rows + kDeltaChunk - 1) / kDeltaChunk, heads = args.shape.n_value_heads;
  const int failed = launch({dim3(chunks, heads), dim3(kDeltaThreads), sizeof(ChunkShared<KeyDim>), queue.stream},
                            delta_chunk_kernel<KeyDim>, args);
  if (failed != 0) return failed;
  const Shape shape{dim3(heads, KeyDim / kStateColumns), dim3(kDeltaThreads), kPieceBuffers * piece_floats<KeyDim>() * 4,
                    queue.stream};
  return launch(shape, delta_chunk_state_kernel<KeyDim>, args);
}

/// Chunks pay where the tensor cores do tf32 several times faster than the other units do fp32: on the parts for data
/// centres, which are those with so much shared memory. Elsewhere positions one after another are faster, and exact.
bool goes_in_chunks(const Queue& queue, const DeltaStepArgs& args) {
  constexpr int kSharedOfFastTf32 = 160 << 10;
  constexpr int kLeastRows = 2 * kDeltaChunk;  // a chunk alone takes as long as its positions one after another
  return queue.shared_bytes >= kSharedOfFastTf32 && !args.exact && args.rows >= kLeastRows &&
         has_chunks(args.shape) && args.scratch != nullptr &&
         args.scratch_bytes >= delta_scratch_bytes(args.shape, args.rows);
}

int delta_rows(const Queue& queue, const DeltaStepArgs& args) {
  const DeltaShape& shape = args.shape;
  if (shape.key_dim % 4 != 0 || shape.value_dim % 4 != 0 || shape.taps > kMostTaps) return kUnsupportedShape;
  const bool chunked = goes_in_chunks(queue, args);
  const int heads = 2 * shape.n_key_heads + shape.n_value_heads, warps = kDeltaThreads / 32;
  const dim3 grid((args.rows + kPrepareRows - 1) / kPrepareRows, (heads + warps - 1) / warps);
  int failed = launch({grid, dim3(kDeltaThreads), 0, queue.stream}, delta_prepare_kernel, args, chunked);
  if (failed == 0 && !chunked) failed = delta_scan(queue, args);
  if (failed == 0 && chunked && shape.key_dim == 64) failed = delta_chunks<64>(queue, args);
  if (failed == 0 && chunked && shape.key_dim == 128) failed = delta_chunks<128>(queue, args);
  if (failed == 0) failed = launch({dim3(queue.multiprocessors), dim3(256), 0, queue.stream}, delta_ring_kernel, args);
  return failed;
}

}  // namespace

int delta_net_step(const Queue& queue, const DeltaStepArgs& args) {
  if (args.shape.key_dim > kMostDeltaDim || args.shape.value_dim > kMostDeltaDim) return kUnsupportedShape;
  if (args.rows > 1) return delta_rows(queue, args);
  if (args.shape.key_dim <= 32) return delta_step_of<1>(queue, args);
  if (args.shape.key_dim <= 64) return delta_step_of<2>(queue, args);
  return delta_step_of<4>(queue, args);
}

int attention_step(const Queue& queue, const AttentionStepArgs& args) {
  if (args.splits < 1 || args.splits > kMostSplits) return kUnsupportedShape;
  switch (args.head_dim) {
    case 32: return args.kv_f32 ? attention_of<32, true>(queue, args) : attention_of<32, false>(queue, args);
    case 64: return args.kv_f32 ? attention_of<64, true>(queue, args) : attention_of<64, false>(queue, args);
    case 128: return args.kv_f32 ? attention_of<128, true>(queue, args) : attention_of<128, false>(queue, args);
    case 256: return args.kv_f32 ? attention_of<256, true>(queue, args) : attention_of<256, false>(queue, args);
    default: return kUnsupportedShape;
  }
}

int attention_rows(const Queue& queue, const AttentionRowsArgs& args) {
  if (args.rows == 0) return 0;
  if (args.rotary_dim > args.head_dim || args.n_heads % args.n_kv_heads != 0) return kUnsupportedShape;
  if (args.first_visible < 0 || args.first_visible > args.first_position) return kUnsupportedShape;
  switch (args.head_dim) {
    case 32: return attention_rows_of<32>(queue, args);
    case 64: return attention_rows_of<64>(queue, args);
    case 128: return attention_rows_of<128>(queue, args);
    case 256: return attention_rows_of<256>(queue, args);
    default: return kUnsupportedShape;
  }
}

int rotation(const Queue& queue, const float* inv_freq, int half, const int* position, int offset, float* rotation) {
  const Shape shape{dim3(1), dim3(64), 0, queue.stream, queue.overlap};
  return launch(shape, rotation_kernel, inv_freq, half, position, offset, rotation);
}

}  // namespace pipo::cuda
