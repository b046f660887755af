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

/// A product's result is the next one's operand as it is: with the inner elements taken in the order 0, 2, 4, 6, 1, 3, 5,
/// 7 on both sides, a thread holds what it needs.
__device__ __forceinline__ void result_as_operand(const float (&c)[4], unsigned half, unsigned (&a)[4]) {
  a[0] = __float_as_uint(c[0]) + half, a[1] = __float_as_uint(c[2]) + half;
  a[2] = __float_as_uint(c[1]) + half, a[3] = __float_as_uint(c[3]) + half;
}
/// Loads of operands from shared memory, in the order of the program: brought forward they would take the registers.
__device__ __forceinline__ uint2 load_pair(const float* at) {
#ifdef __CUDA_ARCH__
  uint2 v;
  asm volatile("ld.shared.v2.u32 {%0,%1}, [%2];"
               : "=r"(v.x), "=r"(v.y) : "r"(static_cast<unsigned>(__cvta_generic_to_shared(at))) : "memory");
  return v;
#else
  return *reinterpret_cast<const uint2*>(at);
#endif
}
__device__ __forceinline__ unsigned load_one(const void* at) {
#ifdef __CUDA_ARCH__
  unsigned v;
  asm volatile("ld.shared.u32 %0, [%1];" : "=r"(v) : "r"(static_cast<unsigned>(__cvta_generic_to_shared(at))) : "memory");
  return v;
#else
  return *static_cast<const unsigned*>(at);
#endif
}
__device__ __forceinline__ void load_eight(const float* at, float (&v)[8]) {
  const float4 low = *reinterpret_cast<const float4*>(at), high = *reinterpret_cast<const float4*>(at + 4);
  v[0] = low.x, v[1] = low.y, v[2] = low.z, v[3] = low.w;
  v[4] = high.x, v[5] = high.y, v[6] = high.z, v[7] = high.w;
}

/// Strides in shared memory without bank conflicts: where a thread reads two inner elements of a product side by side,
/// and where it reads columns.
constexpr int pair_stride(int width) { return width + 8; }
constexpr int column_stride(int width) { return width + 4; }

template <int KeyDim>
struct ChunkShared {
  alignas(16) float q[kChunk * pair_stride(KeyDim)];  // later V, then U
  alignas(16) float k[kChunk * pair_stride(KeyDim)];  // later W
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

/// Products of the warp's 16 rows of `rows` with all of `columns`.
template <int KeyDim>
__device__ __forceinline__ void row_products(const float* rows, const float* columns, float (&c)[kChunk / 8][4]) {
  constexpr int kStride = pair_stride(KeyDim);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll 2  // the sums of both products fill the registers
  for (int k = 0; k < KeyDim / 8; ++k) {
    const int at = lane / 4 * kStride + k * 8 + lane % 4 * 2;
    const uint2 low = load_pair(rows + warp * 16 * kStride + at), high = load_pair(rows + (warp * 16 + 8) * kStride + at);
    const unsigned x[4] = {low.x, high.x, low.y, high.y};
#pragma unroll
    for (int j = 0; j < kChunk / 8; ++j) multiply_add_tf32(c[j], x, load_pair(columns + j * 8 * kStride + at));
  }
}

/// Solves (I + A) X = B for one column of K's place and one of V's, eight rows at a time. B is what lies there, times
/// beta e^L and beta.
template <int KeyDim>
__device__ __forceinline__ void solve_columns(ChunkShared<KeyDim>& s, int column) {
  constexpr int kRows = 8, kStride = pair_stride(KeyDim);
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
  constexpr int kStride = pair_stride(KeyDim);
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
  row_products<KeyDim>(s.k, s.k, keys);
  row_products<KeyDim>(s.q, s.k, queries);
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

/// Pieces of a chunk in the order of their use: halves of Q and W, the products, halves of K. Two warps of a block bring
/// them to one of kPieceBuffers places in shared memory while the two others compute.
constexpr int kPieceRows = kChunk / 2, kPieces = 7, kProductsPiece = 4, kPieceBuffers = 5;
constexpr int kStateWarps = 2, kStateColumns = 16 * kStateWarps;
constexpr int kLoaders = kDeltaThreads - 32 * kStateWarps;
constexpr int kDecaysAt = kChunk * pair_stride(kChunk);  ///< behind the products

template <int KeyDim>
constexpr int piece_floats() {
  const int rows = kPieceRows * pair_stride(KeyDim), products = kDecaysAt + 2 * kChunk;
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
      const int row = i / (kChunk / 4), e = i % (kChunk / 4) * 4;
      copy_async(row < kChunk ? to + row * pair_stride(kChunk) + e : to + kDecaysAt + i * 4 - kChunk * kChunk, record + i * 4);
    }
    return;
  }
  const bool keys = which > kProductsPiece;
  const int row0 = chunk * kChunk + (keys ? which - kProductsPiece - 1 : which % 2) * kPieceRows;
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
__device__ __forceinline__ void add_products(const float (&n)[kChunk / 8][4], const float* products, unsigned half,
                                             float (&o)[kChunk / 8][4]) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int k = 0; k < kChunk / 8; ++k) {
    unsigned x[4];
    result_as_operand(n[k], half, x);
#pragma unroll
    for (int j = k; j < kChunk / 8; ++j) {
      multiply_add_tf32(o[j], x, load_pair(products + (j * 8 + lane / 4) * pair_stride(kChunk) + k * 8 + lane % 4 * 2));
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
  constexpr int kTiles = kChunk / 8, kHalf = kTiles / 2;
  const DeltaShape shape = a.shape;
  const int head = blockIdx.x, lane = threadIdx.x % 32, warp = threadIdx.x / 32, width = shape.value_width();
  const ChunkPlace place{head, head / (shape.n_value_heads / shape.n_key_heads) * KeyDim,
                         2 * shape.key_width() + head * KeyDim, shape.channels()};
  const int chunks = (a.rows + kChunk - 1) / kChunk;
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
    const int mine = lane % 4 * 2, rows = a.rows - chunk * kChunk - mine;  // of this thread's first position on
    const float* from = a.out + (static_cast<std::int64_t>(chunk) * kChunk + mine) * width + head * KeyDim + column;
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
    float* to = a.out + (static_cast<std::int64_t>(chunk) * kChunk + mine) * step + head * KeyDim + column;
#pragma unroll
    for (int j = 0; j < kTiles; ++j, to += 8 * step) {
      const float2 left = *reinterpret_cast<const float2*>(decays + kChunk + j * 8 + mine);
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        n[j][e] *= e % 2 == 0 ? left.x : left.y;
        if (j * 8 + e % 2 < rows) to[e % 2 * step + e / 2 * 8] = o[j][e];
      }
    }
    const float all = decays[kChunk - 1];
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
