#pragma once

#include "kernels/cuda/delta_scan.cuh"

/// Many positions of the gated delta rule in chunks of 64, as matrix products: for cards whose tensor cores are much
/// faster than their fp32 units. With L the running sum of log decays within a chunk, S the state before it, and rows of
/// Q, K, V one per position:
///   A = strictly lower(beta_i k_i.k_j e^(L_i - L_j)),  (I + A) U = beta V,  (I + A) W = beta e^L K
///   N = U - W S,  O = e^L Q S + lower(q_i.k_j e^(L_i - L_j)) N,  S' = e^L_last S + (e^(L_last - L) K)^T N
/// The first line needs no state: one block per chunk and head. The second goes chunk by chunk, a warp for 16 columns of
/// the state, kept turned around in its registers in fp32, where it is result and operand alike. Operands are rounded to
/// tf32, sums are fp32.
///
/// U lies where the output goes, W where the values were. Queries and keys come rounded from delta_prepare_kernel.
namespace pipo::cuda {

constexpr int kChunk = 64;
constexpr int kChunkRecord = kChunk * kChunk + 2 * kChunk;  ///< floats of a chunk and head: products, e^L, e^(L_last - L)
constexpr float kLeastLogDecay = -30.0f;  ///< below it nothing is left in fp32

/// Operands of both matrices are taken in the order 0, 2, 4, 6, 1, 3, 5, 7 of their eight inner elements, so that a
/// thread's two lie side by side, and a product's result can be the next one's operand as it is.
__device__ __forceinline__ void result_as_operand(const float (&c)[4], unsigned (&a)[4]) {
  a[0] = rounded_tf32(c[0]), a[1] = rounded_tf32(c[2]), a[2] = rounded_tf32(c[1]), a[3] = rounded_tf32(c[3]);
}
__device__ __forceinline__ void load_pair(const float* at, unsigned& low, unsigned& high) {
  const uint2 pair = *reinterpret_cast<const uint2*>(at);
  low = pair.x, high = pair.y;
}

__device__ __forceinline__ void load_eight(const float* at, float (&v)[8]) {
  const float4 low = *reinterpret_cast<const float4*>(at), high = *reinterpret_cast<const float4*>(at + 4);
  v[0] = low.x, v[1] = low.y, v[2] = low.z, v[3] = low.w;
  v[4] = high.x, v[5] = high.y, v[6] = high.z, v[7] = high.w;
}

/// Strides in shared memory without bank conflicts: of matrices whose neighbouring elements are a product's inner ones,
/// and of those where they are its columns.
constexpr int inner_stride(int width) { return width + 8; }
constexpr int column_stride(int width) { return width + 4; }

template <int KeyDim>
struct ChunkShared {
  alignas(16) float q[kChunk * inner_stride(KeyDim)];  // later V, then U
  alignas(16) float k[kChunk * inner_stride(KeyDim)];  // later W
  alignas(16) float a[kChunk * column_stride(kChunk)];  // A turned: [j][i]
  float log_decay[kChunk], beta[kChunk];
};

/// Running sums of a chunk's log decays, by the first warp. Rows behind the end change nothing.
template <int KeyDim>
__device__ __forceinline__ void load_gates(const DeltaStepArgs& a, int row0, int head, ChunkShared<KeyDim>& s) {
  if (threadIdx.x >= 32) return;
  float sums[2];
#pragma unroll
  for (int e = 0; e < 2; ++e) {
    const int i = 2 * threadIdx.x + e;
    const float* gates = a.gates + static_cast<std::int64_t>(row0 + i) * 2 * a.shape.n_value_heads + head;
    const bool here = row0 + i < a.rows;
    sums[e] = here ? fmaxf(logf(gates[0]), kLeastLogDecay) : 0.0f;
    s.beta[i] = here ? gates[a.shape.n_value_heads] : 0.0f;
  }
  float before = sums[0] + sums[1];
  for (int step = 1; step < 32; step *= 2) {
    const float other = __shfl_up_sync(kFullWarp, before, step);
    if (static_cast<int>(threadIdx.x) >= step) before += other;
  }
  s.log_decay[2 * threadIdx.x] = before - sums[1];
  s.log_decay[2 * threadIdx.x + 1] = before;
}

/// Copies `Width` floats of each row of the chunk; rows behind the end are zero.
template <int Threads>
__device__ __forceinline__ void copy_chunk(const float* from, std::int64_t stride, int width, int rows, int to_stride,
                                           float* to) {
  const int quads = width / 4;
  for (int i = threadIdx.x; i < kChunk * quads; i += Threads) {
    const int row = i / quads, e = i % quads * 4;
    if (row < rows) copy_async(to + row * to_stride + e, from + row * stride + e);
    else *reinterpret_cast<float4*>(to + row * to_stride + e) = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  }
}

/// Products of the warp's 16 rows of `rows` with rows 8 j... of `columns`, j = 0...7 up to the diagonal.
template <int KeyDim>
__device__ __forceinline__ void lower_products(const float* rows, const float* columns, float (&c)[kChunk / 8][4]) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, last = 2 * warp + 1;
#pragma unroll
  for (int k = 0; k < KeyDim / 8; ++k) {
    unsigned x[4];
    const float* at = rows + (warp * 16 + lane / 4) * inner_stride(KeyDim) + k * 8 + lane % 4 * 2;
    load_pair(at, x[0], x[2]);
    load_pair(at + 8 * inner_stride(KeyDim), x[1], x[3]);
#pragma unroll
    for (int j = 0; j < kChunk / 8; ++j) {
      if (j > last) continue;  // the same for the whole warp
      unsigned y[2];
      load_pair(columns + (j * 8 + lane / 4) * inner_stride(KeyDim) + k * 8 + lane % 4 * 2, y[0], y[1]);
      multiply_add_tf32(c[j], x, y);
    }
  }
}

/// Solves (I + A) X = B for one column of K's place and one of V's, eight rows at a time. B is what lies there, times
/// beta e^L and beta.
template <int KeyDim>
__device__ __forceinline__ void solve_columns(ChunkShared<KeyDim>& s, int column) {
  constexpr int kRows = 8, kStride = inner_stride(KeyDim);
  float *w = s.k + column, *u = s.q + column;
  for (int block = 0; block < kChunk; block += kRows) {
    float x[kRows], y[kRows];
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      const float beta = s.beta[block + r];
      x[r] = beta * power_of_two(s.log_decay[block + r] * kLog2E) * w[(block + r) * kStride];
      y[r] = beta * u[(block + r) * kStride];
    }
    for (int j = 0; j < block; ++j) {
      const float solved_x = w[j * kStride], solved_y = u[j * kStride];
      float factors[kRows];
      load_eight(s.a + j * column_stride(kChunk) + block, factors);
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        x[r] -= factors[r] * solved_x;
        y[r] -= factors[r] * solved_y;
      }
    }
#pragma unroll
    for (int j = 0; j < kRows; ++j) {
      float factors[kRows];
      load_eight(s.a + (block + j) * column_stride(kChunk) + block, factors);
#pragma unroll
      for (int r = j + 1; r < kRows; ++r) {
        x[r] -= factors[r] * x[j];
        y[r] -= factors[r] * y[j];
      }
    }
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      w[(block + r) * kStride] = x[r];
      u[(block + r) * kStride] = y[r];
    }
  }
}

/// What of a chunk needs no state. Grid [chunks, n_value_heads].
template <int KeyDim>
__global__ void __launch_bounds__(kDeltaThreads) delta_chunk_kernel(DeltaStepArgs a) {
  PIPO_DYNAMIC_SHARED(dynamic);
  auto& s = *reinterpret_cast<ChunkShared<KeyDim>*>(dynamic);
  constexpr int kStride = inner_stride(KeyDim);
  const DeltaShape shape = a.shape;
  const int row0 = blockIdx.x * kChunk, head = blockIdx.y, rows = min(kChunk, a.rows - row0);
  const int key_at = head / (shape.n_value_heads / shape.n_key_heads) * KeyDim;
  const int value_at = 2 * shape.key_width() + head * shape.value_dim;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const std::int64_t channels = shape.channels();
  float* mixed = a.mixed + row0 * channels;
  float* record = static_cast<float*>(a.scratch) + (static_cast<std::int64_t>(blockIdx.x) * shape.n_value_heads + head) * kChunkRecord;
  wait_for_previous();
  copy_chunk<kDeltaThreads>(mixed + key_at, channels, KeyDim, rows, kStride, s.q);
  copy_chunk<kDeltaThreads>(mixed + shape.key_width() + key_at, channels, KeyDim, rows, kStride, s.k);
  commit_copies();
  load_gates<KeyDim>(a, row0, head, s);
  wait_copies<0>();
  __syncthreads();

  float keys[kChunk / 8][4] = {}, queries[kChunk / 8][4] = {};
  lower_products<KeyDim>(s.k, s.k, keys);
  lower_products<KeyDim>(s.q, s.k, queries);
#pragma unroll
  for (int j = 0; j < kChunk / 8; ++j) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int i = warp * 16 + lane / 4 + e / 2 * 8, column = j * 8 + lane % 4 * 2 + e % 2;
      // Only differences of which nothing can overflow.
      const float decay = i < column ? 0.0f : power_of_two((s.log_decay[i] - s.log_decay[column]) * kLog2E);
      s.a[column * column_stride(kChunk) + i] = i > column ? s.beta[i] * keys[j][e] * decay : 0.0f;
      record[i * kChunk + column] = __uint_as_float(rounded_tf32(queries[j][e] * decay));
    }
  }
  if (threadIdx.x < kChunk) {
    const float here = s.log_decay[threadIdx.x], last = s.log_decay[kChunk - 1];
    record[kChunk * kChunk + threadIdx.x] = power_of_two(here * kLog2E);
    record[kChunk * kChunk + kChunk + threadIdx.x] = power_of_two((last - here) * kLog2E);
  }
  __syncthreads();  // A is there; nobody reads the queries any more
  copy_chunk<kDeltaThreads>(mixed + value_at, channels, KeyDim, rows, kStride, s.q);
  commit_copies();
  wait_copies<0>();
  __syncthreads();

  const int column = threadIdx.x;
  if (column >= KeyDim) return;
  solve_columns<KeyDim>(s, column);
  float* u = a.out + static_cast<std::int64_t>(row0) * shape.value_width() + head * shape.value_dim + column;
  for (int i = 0; i < rows; ++i) {
    mixed[i * channels + value_at + column] = __uint_as_float(rounded_tf32(s.k[i * kStride + column]));
    u[static_cast<std::int64_t>(i) * shape.value_width()] = s.q[i * kStride + column];
  }
}

/// Pieces of a chunk in the order of their use: halves of W and Q, the products, halves of K; each goes through one of
/// kPieceBuffers places in shared memory, the others of which are being filled.
constexpr int kPieceRows = kChunk / 2, kPieces = 7, kPieceBuffers = 5;
constexpr int kStateWarps = 2, kStateThreads = 32 * kStateWarps, kStateColumns = 16 * kStateWarps;

template <int KeyDim>
constexpr int piece_floats() {
  return kPieceRows * inner_stride(KeyDim) > kChunk * inner_stride(kChunk) ? kPieceRows * inner_stride(KeyDim)
                                                                          : kChunk * inner_stride(kChunk);
}

/// Starts the copies of piece number `piece` of the whole run. Rows behind the end are read from the last one: what they
/// meet is zero.
template <int KeyDim>
__device__ __forceinline__ void copy_piece(const DeltaStepArgs& a, int piece, int head, int key_at, int value_at, float* to) {
  const int chunk = piece / kPieces, which = piece % kPieces;
  const DeltaShape& shape = a.shape;
  if (which == 4) {
    const float* record =
        static_cast<const float*>(a.scratch) + (static_cast<std::int64_t>(chunk) * shape.n_value_heads + head) * kChunkRecord;
    for (int i = threadIdx.x; i < kChunk * kChunk / 4; i += kStateThreads) {
      copy_async(to + i / (kChunk / 4) * inner_stride(kChunk) + i % (kChunk / 4) * 4, record + i * 4);
    }
    return;
  }
  const int half = which < 4 ? which % 2 : which - 5, row0 = chunk * kChunk + half * kPieceRows;
  const int at = which < 2 ? value_at : which < 4 ? key_at : shape.key_width() + key_at;
  const int stride = which < 4 ? inner_stride(KeyDim) : column_stride(KeyDim);
  for (int i = threadIdx.x; i < kPieceRows * (KeyDim / 4); i += kStateThreads) {
    const int row = i / (KeyDim / 4), e = i % (KeyDim / 4) * 4;
    const std::int64_t from = min(row0 + row, a.rows - 1);
    copy_async(to + row * stride + e, a.mixed + from * shape.channels() + at + e);
  }
}

/// c [16 columns of the state, positions of a piece] = S^T times the piece's rows.
template <int KeyDim>
__device__ __forceinline__ void state_products(const float (&s)[KeyDim / 8][4], const float* piece,
                                               float (&c)[kChunk / 8][4], int half) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int k = 0; k < KeyDim / 8; ++k) {
    unsigned x[4];
    result_as_operand(s[k], x);
#pragma unroll
    for (int j = 0; j < kPieceRows / 8; ++j) {
      unsigned y[2];
      load_pair(piece + (j * 8 + lane / 4) * inner_stride(KeyDim) + k * 8 + lane % 4 * 2, y[0], y[1]);
      multiply_add_tf32(c[half * (kPieceRows / 8) + j], x, y);
    }
  }
}

/// The state's way through the chunks. Grid [n_value_heads, slices of kStateColumns].
template <int KeyDim>
__global__ void __launch_bounds__(kStateThreads) delta_chunk_state_kernel(DeltaStepArgs a) {
  PIPO_DYNAMIC_SHARED(dynamic);
  float* buffers = reinterpret_cast<float*>(dynamic);
  constexpr int kTiles = kChunk / 8, kFloats = piece_floats<KeyDim>();
  const DeltaShape shape = a.shape;
  const int head = blockIdx.x, lane = threadIdx.x % 32, width = shape.value_width();
  const int key_at = head / (shape.n_value_heads / shape.n_key_heads) * KeyDim;
  const int value_at = 2 * shape.key_width() + head * shape.value_dim;
  const int column = blockIdx.y * kStateColumns + threadIdx.x / 32 * 16 + lane / 4;  // and 8 more
  const int chunks = (a.rows + kChunk - 1) / kChunk, pieces = chunks * kPieces;
  wait_for_previous();
  int piece = 0;
#pragma unroll
  for (int i = 0; i < kPieceBuffers - 1; ++i) {
    if (i < pieces) copy_piece<KeyDim>(a, i, head, key_at, value_at, buffers + i * kFloats);
    commit_copies();
  }
  // The next piece; the place of the one before it is filled again.
  const auto advance = [&] {
    wait_copies<kPieceBuffers - 2>();
    __syncthreads();
    const int next = piece + kPieceBuffers - 1;
    if (next < pieces) copy_piece<KeyDim>(a, next, head, key_at, value_at, buffers + next % kPieceBuffers * kFloats);
    commit_copies();
    return static_cast<const float*>(buffers + piece++ % kPieceBuffers * kFloats);
  };

  float* state = a.state + static_cast<std::int64_t>(head) * KeyDim * shape.value_dim + column;
  const auto state_at = [&](int tile, int e) { return (tile * 8 + lane % 4 * 2 + e % 2) * shape.value_dim + e / 2 * 8; };
  float s[KeyDim / 8][4];  // turned: rows are the state's columns
#pragma unroll
  for (int k = 0; k < KeyDim / 8; ++k) {
#pragma unroll
    for (int e = 0; e < 4; ++e) s[k][e] = state[state_at(k, e)];
  }
  for (int chunk = 0; chunk < chunks; ++chunk) {
    const int row0 = chunk * kChunk, rows = min(kChunk, a.rows - row0);
    const float* decays = static_cast<const float*>(a.scratch) +
                          (static_cast<std::int64_t>(chunk) * shape.n_value_heads + head) * kChunkRecord + kChunk * kChunk;
    float* out = a.out + static_cast<std::int64_t>(row0) * width + head * shape.value_dim + column;
    float n[kTiles][4], o[kTiles][4] = {};
#pragma unroll
    for (int j = 0; j < kTiles; ++j) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int position = j * 8 + lane % 4 * 2 + e % 2;
        n[j][e] = position < rows ? -out[position * width + e / 2 * 8] : 0.0f;  // -U
      }
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) state_products<KeyDim>(s, advance(), n, half);
#pragma unroll
    for (int half = 0; half < 2; ++half) state_products<KeyDim>(s, advance(), o, half);
    const float* products = advance();
#pragma unroll
    for (int j = 0; j < kTiles; ++j) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int position = j * 8 + lane % 4 * 2 + e % 2;
        n[j][e] = position < rows ? -n[j][e] : 0.0f;
        o[j][e] *= decays[position];
      }
    }
#pragma unroll
    for (int k = 0; k < kTiles; ++k) {
      unsigned x[4];
      result_as_operand(n[k], x);
#pragma unroll
      for (int j = k; j < kTiles; ++j) {  // rows before these positions do not see them
        unsigned y[2];
        load_pair(products + (j * 8 + lane / 4) * inner_stride(kChunk) + k * 8 + lane % 4 * 2, y[0], y[1]);
        multiply_add_tf32(o[j], x, y);
      }
    }
#pragma unroll
    for (int j = 0; j < kTiles; ++j) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int position = j * 8 + lane % 4 * 2 + e % 2;
        n[j][e] *= decays[kChunk + position];
        if (position < rows) out[position * width + e / 2 * 8] = o[j][e];
      }
    }
    const float all = decays[kChunk - 1];
#pragma unroll
    for (int k = 0; k < KeyDim / 8; ++k) {
#pragma unroll
      for (int e = 0; e < 4; ++e) s[k][e] *= all;
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float* keys = advance();
#pragma unroll
      for (int k = 0; k < kPieceRows / 8; ++k) {
        unsigned x[4];
        result_as_operand(n[half * (kPieceRows / 8) + k], x);
#pragma unroll
        for (int j = 0; j < KeyDim / 8; ++j) {
          const float* at = keys + (k * 8 + lane % 4 * 2) * column_stride(KeyDim) + j * 8 + lane / 4;
          const unsigned y[2] = {__float_as_uint(at[0]), __float_as_uint(at[column_stride(KeyDim)])};
          multiply_add_tf32(s[j], x, y);
        }
      }
    }
  }
  wait_copies<0>();
#pragma unroll
  for (int k = 0; k < KeyDim / 8; ++k) {
#pragma unroll
    for (int e = 0; e < 4; ++e) state[state_at(k, e)] = s[k][e];
  }
}

/// Whether these shapes can go through chunks.
inline bool has_chunks(const DeltaShape& shape) {
  return shape.key_dim == shape.value_dim && (shape.key_dim == 64 || shape.key_dim == 128);
}

/// What a run of so many rows needs in DeltaStepArgs::scratch to go in chunks, 0 where it cannot.
inline std::int64_t delta_scratch_bytes(const DeltaShape& shape, int rows) {
  if (!has_chunks(shape)) return 0;
  return std::int64_t{(rows + kChunk - 1) / kChunk} * shape.n_value_heads * kChunkRecord * 4;
}

}  // namespace pipo::cuda
