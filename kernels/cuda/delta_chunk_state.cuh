#pragma once

#include "kernels/cuda/delta_chunks.cuh"

/// The state's way through the chunks of delta_chunks.cuh. A warp owns 16 columns of the state, turned around in its
/// registers in fp32, where it is a product's result and operand alike.
namespace pipo::cuda {

/// A product's result is the next one's operand as it is: with the inner elements taken in the order 0, 2, 4, 6, 1, 3, 5,
/// 7 on both sides, a thread holds what it needs.
__device__ __forceinline__ void result_as_operand(const float (&c)[4], unsigned half, unsigned (&a)[4]) {
  a[0] = __float_as_uint(c[0]) + half, a[1] = __float_as_uint(c[2]) + half;
  a[2] = __float_as_uint(c[1]) + half, a[3] = __float_as_uint(c[3]) + half;
}

/// Pieces of a chunk in the order of their use: halves of Q and W, the products, halves of K. Two warps of a block bring
/// them to one of kPieceBuffers places in shared memory while the two others compute.
constexpr int kPieceRows = kDeltaChunk / 2, kPieces = 7, kProductsPiece = 4, kPieceBuffers = 5;
constexpr int kStateWarps = 2, kStateColumns = 16 * kStateWarps;
constexpr int kLoaders = kDeltaThreads - 32 * kStateWarps;
constexpr int kDecaysAt = kDeltaChunk * pair_stride(kDeltaChunk);  ///< behind the products

template <int KeyDim>
constexpr int piece_floats() {
  const int rows = kPieceRows * pair_stride(KeyDim), products = kDecaysAt + 2 * kDeltaChunk;
  return rows > products ? rows : products;
}

/// What of the inputs a block of delta_chunk_state_kernel works on.
struct ChunkPlace {
  int head, key_at, value_at, channels;
};

/// Starts the copies of piece number `piece` of the whole run. Rows behind the end are read from the last one: what they
/// meet is zero.
template <int KeyDim>
__device__ __forceinline__ void copy_piece(const DeltaStepArgs& a, const ChunkPlace& place, int piece, float* to) {
  const int chunk = piece / kPieces, which = piece % kPieces, thread = threadIdx.x - 32 * kStateWarps;
  if (which == kProductsPiece) {
    const float* record = static_cast<const float*>(a.scratch) +
                          (static_cast<std::int64_t>(chunk) * a.shape.n_value_heads + place.head) * kChunkRecord;
    for (int i = thread; i < kChunkRecord / 4; i += kLoaders) {
      const int row = i / (kDeltaChunk / 4), e = i % (kDeltaChunk / 4) * 4;
      const int at = row < kDeltaChunk ? row * pair_stride(kDeltaChunk) + e : kDecaysAt + (row - kDeltaChunk) * kDeltaChunk + e;
      copy_async(to + at, record + i * 4);
    }
    return;
  }
  const bool keys = which > kProductsPiece;
  const int row0 = chunk * kDeltaChunk + (keys ? which - kProductsPiece - 1 : which % 2) * kPieceRows;
  const int at = which / 2 == 1 ? place.value_at : place.key_at + (keys ? a.shape.key_width() : 0);
  const int stride = keys ? column_stride(KeyDim) : pair_stride(KeyDim);
#pragma unroll 4
  for (int i = thread; i < kPieceRows * (KeyDim / 4); i += kLoaders) {
    const int row = i / (KeyDim / 4), e = i % (KeyDim / 4) * 4;
    const std::int64_t from = min(row0 + row, a.rows - 1);
    copy_async(to + row * stride + e, a.mixed + from * place.channels + at + e);
  }
}

/// The loading warps' part: a piece is announced at the barrier that also frees the place of the piece before.
template <int KeyDim>
__device__ void load_pieces(const DeltaStepArgs& a, const ChunkPlace& place, int pieces, float* buffers) {
  constexpr int kFloats = piece_floats<KeyDim>();
  for (int i = 0; i < kPieceBuffers - 1; ++i) {
    if (i < pieces) copy_piece<KeyDim>(a, place, i, buffers + i * kFloats);
    commit_copies();
  }
  for (int i = 0; i < pieces; ++i) {
    wait_copies<kPieceBuffers - 2>();
    __syncthreads();
    const int next = i + kPieceBuffers - 1;
    if (next < pieces) copy_piece<KeyDim>(a, place, next, buffers + next % kPieceBuffers * kFloats);
    commit_copies();
  }
  wait_copies<0>();
}

/// c [16 columns of the state, positions of a piece] = S^T times the piece's rows. The state is kept turned: tile t of a
/// thread holds, of the state's columns `column` and 8 more, the rows (keys) 8 t + 2 (lane % 4) and the next.
template <int KeyDim>
__device__ __forceinline__ void state_products(const float (&s)[KeyDim / 8][4], const float* piece, unsigned half,
                                               float (*c)[4]) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int k = 0; k < KeyDim / 8; ++k) {
    unsigned x[4];
    result_as_operand(s[k], half, x);
#pragma unroll
    for (int j = 0; j < kPieceRows / 8; ++j) {
      const float* row = piece + (j * 8 + lane / 4) * pair_stride(KeyDim) + k * 8 + lane % 4 * 2;
      multiply_add_tf32(c[j], x, load_pair(row));
    }
  }
}

/// s += n^T times the piece's keys; n [16 columns of the state, positions of a piece].
template <int KeyDim>
__device__ __forceinline__ void add_keys(const float (*n)[4], const float* piece, unsigned half,
                                         float (&s)[KeyDim / 8][4]) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int k = 0; k < kPieceRows / 8; ++k) {
    unsigned x[4];
    result_as_operand(n[k], half, x);
#pragma unroll
    for (int j = 0; j < KeyDim / 8; ++j) {
      const float* at = piece + (k * 8 + lane % 4 * 2) * column_stride(KeyDim) + j * 8 + lane / 4;
      multiply_add_tf32(s[j], x, {load_one(at), load_one(at + column_stride(KeyDim))});
    }
  }
}

/// o += n^T times the products, of which those of earlier rows with later positions are zero.
__device__ __forceinline__ void add_products(const float (&n)[kDeltaChunk / 8][4], const float* products, unsigned half,
                                             float (&o)[kDeltaChunk / 8][4]) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int k = 0; k < kDeltaChunk / 8; ++k) {
    unsigned x[4];
    result_as_operand(n[k], half, x);
#pragma unroll
    for (int j = k; j < kDeltaChunk / 8; ++j) {
      const float* row = products + (j * 8 + lane / 4) * pair_stride(kDeltaChunk) + k * 8 + lane % 4 * 2;
      multiply_add_tf32(o[j], x, load_pair(row));
    }
  }
}

/// The state's way through the chunks. Grid [n_value_heads, slices of kStateColumns].
template <int KeyDim>
__global__ void __launch_bounds__(kDeltaThreads) delta_chunk_state_kernel(DeltaStepArgs a) {
  PIPO_DYNAMIC_SHARED(dynamic);
  // Read anew where they are used: what follows from numbers that it knows, the whole rounded state or the places of the
  // output, the compiler would keep in registers.
  __shared__ unsigned half, row_step;
  float* buffers = reinterpret_cast<float*>(dynamic);
  constexpr int kTiles = kDeltaChunk / 8, kHalf = kTiles / 2;
  const DeltaShape shape = a.shape;
  const int head = blockIdx.x, lane = threadIdx.x % 32, warp = threadIdx.x / 32, width = shape.value_width();
  const ChunkPlace place{head, head / (shape.n_value_heads / shape.n_key_heads) * KeyDim,
                         2 * shape.key_width() + head * KeyDim, shape.channels()};
  const int chunks = (a.rows + kDeltaChunk - 1) / kDeltaChunk;
  if (threadIdx.x == 0) half = kTf32Half, row_step = static_cast<unsigned>(width);
  wait_for_previous();
  if (warp >= kStateWarps) return load_pieces<KeyDim>(a, place, chunks * kPieces, buffers);

  int piece = 0;
  const auto next_piece = [&] {
    __syncthreads();
    return static_cast<const float*>(buffers + piece++ % kPieceBuffers * piece_floats<KeyDim>());
  };
  const int column = blockIdx.y * kStateColumns + warp * 16 + lane / 4;
  float* state = a.state + static_cast<std::int64_t>(head) * KeyDim * KeyDim + column;
  const auto key = [&](int tile, int e) { return tile * 8 + lane % 4 * 2 + e; };
  float s[KeyDim / 8][4];
#pragma unroll
  for (int t = 0; t < KeyDim / 8; ++t) {
#pragma unroll
    for (int e = 0; e < 4; ++e) s[t][e] = state[key(t, e % 2) * KeyDim + e / 2 * 8];
  }
#pragma unroll 1
  for (int chunk = 0; chunk < chunks; ++chunk) {
    const int mine = lane % 4 * 2, rows = a.rows - chunk * kDeltaChunk - mine;  // of this thread's first position on
    const float* from = a.out + (static_cast<std::int64_t>(chunk) * kDeltaChunk + mine) * width + head * KeyDim + column;
    float n[kTiles][4], o[kTiles][4] = {};
#pragma unroll
    for (int j = 0; j < kTiles; ++j, from += 8 * width) {  // U with the other sign; it arrives during the queries' work
#pragma unroll
      for (int e = 0; e < 4; ++e) n[j][e] = j * 8 + e % 2 < rows ? -from[e % 2 * width + e / 2 * 8] : 0.0f;
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float* rows_piece = next_piece();
      state_products<KeyDim>(s, rows_piece, load_one(&half), (i < 2 ? o : n) + i % 2 * kHalf);
    }
    const float *products = next_piece(), *decays = products + kDecaysAt;
#pragma unroll
    for (int j = 0; j < kTiles; ++j) {
      const float2 decay = *reinterpret_cast<const float2*>(decays + j * 8 + mine);
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        n[j][e] = j * 8 + e % 2 < rows ? -n[j][e] : 0.0f;
        o[j][e] *= e % 2 == 0 ? decay.x : decay.y;
      }
    }
    add_products(n, products, kTf32Half, o);
    const int step = static_cast<int>(load_one(&row_step));
    float* to = a.out + (static_cast<std::int64_t>(chunk) * kDeltaChunk + mine) * step + head * KeyDim + column;
#pragma unroll
    for (int j = 0; j < kTiles; ++j, to += 8 * step) {
      const float2 left = *reinterpret_cast<const float2*>(decays + kDeltaChunk + j * 8 + mine);
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        n[j][e] *= e % 2 == 0 ? left.x : left.y;
        if (j * 8 + e % 2 < rows) to[e % 2 * step + e / 2 * 8] = o[j][e];
      }
    }
    const float all = decays[kDeltaChunk - 1];
#pragma unroll
    for (int t = 0; t < KeyDim / 8; ++t) {
#pragma unroll
      for (int e = 0; e < 4; ++e) s[t][e] *= all;
    }
    add_keys<KeyDim>(n, next_piece(), kTf32Half, s);
    add_keys<KeyDim>(n + kHalf, next_piece(), kTf32Half, s);
  }
#pragma unroll
  for (int t = 0; t < KeyDim / 8; ++t) {
#pragma unroll
    for (int e = 0; e < 4; ++e) state[key(t, e % 2) * KeyDim + e / 2 * 8] = s[t][e];
  }
}

}  // namespace pipo::cuda
