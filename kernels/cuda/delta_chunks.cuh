#pragma once

#include "kernels/cuda/delta_scan.cuh"

/// Many positions of the gated delta rule in chunks of 64, as matrix products: for cards whose tensor cores are much
/// faster than their fp32 units. With L the running sum of log decays within a chunk, S the state before it, and rows of
/// Q, K, V one per position:
///   A = strictly lower(beta_i k_i.k_j e^(L_i - L_j)),  (I + A) U = beta V,  (I + A) W = beta e^L K
///   N = U - W S,  O = e^L Q S + lower(q_i.k_j e^(L_i - L_j)) N,  S' = e^L_last S + (e^(L_last - L) K)^T N
/// The first line needs no state: one block per chunk and head. The second goes chunk by chunk, see
/// delta_chunk_state.cuh. Operands are rounded to tf32, sums are fp32.
///
/// U lies where the output goes, W where the values were. Queries and keys come rounded from delta_prepare_kernel.
namespace pipo::cuda {

constexpr int kDeltaChunk = 64;
/// Floats of a chunk and head in the scratch: products, e^L, e^(L_last - L).
constexpr int kChunkRecord = kDeltaChunk * kDeltaChunk + 2 * kDeltaChunk;
constexpr float kLeastLogDecay = -30.0f;  ///< below it nothing is left in fp32

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
  alignas(16) float q[kDeltaChunk * pair_stride(KeyDim)];  // later V, then U
  alignas(16) float k[kDeltaChunk * pair_stride(KeyDim)];  // later W
  alignas(16) float a[kDeltaChunk * column_stride(kDeltaChunk)];  // A turned: [j][i]
  float log_decay[kDeltaChunk], beta[kDeltaChunk];
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
  for (int i = threadIdx.x; i < kDeltaChunk * quads; i += Threads) {
    const int row = i / quads, e = i % quads * 4;
    if (row < rows) copy_async(to + row * to_stride + e, from + row * stride + e);
    else *reinterpret_cast<float4*>(to + row * to_stride + e) = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  }
}

/// Products of the warp's 16 rows of `rows` with all of `columns`.
template <int KeyDim>
__device__ __forceinline__ void row_products(const float* rows, const float* columns, float (&c)[kDeltaChunk / 8][4]) {
  constexpr int kStride = pair_stride(KeyDim);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll 2  // the sums of both products fill the registers
  for (int k = 0; k < KeyDim / 8; ++k) {
    const int at = lane / 4 * kStride + k * 8 + lane % 4 * 2;
    const uint2 low = load_pair(rows + warp * 16 * kStride + at), high = load_pair(rows + (warp * 16 + 8) * kStride + at);
    const unsigned x[4] = {low.x, high.x, low.y, high.y};
#pragma unroll
    for (int j = 0; j < kDeltaChunk / 8; ++j) multiply_add_tf32(c[j], x, load_pair(columns + j * 8 * kStride + at));
  }
}

/// Solves (I + A) X = B for one column of K's place and one of V's, eight rows at a time. B is what lies there, times
/// beta e^L and beta.
template <int KeyDim>
__device__ __forceinline__ void solve_columns(ChunkShared<KeyDim>& s, int column) {
  constexpr int kRows = 8, kStride = pair_stride(KeyDim);
  float *w = s.k + column, *u = s.q + column;
  for (int block = 0; block < kDeltaChunk; block += kRows) {
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
      load_eight(s.a + j * column_stride(kDeltaChunk) + block, factors);
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        x[r] -= factors[r] * solved_x;
        y[r] -= factors[r] * solved_y;
      }
    }
#pragma unroll
    for (int j = 0; j < kRows; ++j) {
      float factors[kRows];
      load_eight(s.a + (block + j) * column_stride(kDeltaChunk) + block, factors);
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
  const int row0 = blockIdx.x * kDeltaChunk, head = blockIdx.y, rows = min(kDeltaChunk, a.rows - row0);
  const int key_at = head / (shape.n_value_heads / shape.n_key_heads) * KeyDim;
  const int value_at = 2 * shape.key_width() + head * shape.value_dim;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const std::int64_t channels = shape.channels();
  float* mixed = a.mixed + row0 * channels;
  const std::int64_t place = static_cast<std::int64_t>(blockIdx.x) * shape.n_value_heads + head;
  float* record = static_cast<float*>(a.scratch) + place * kChunkRecord;
  wait_for_previous();
  copy_chunk<kDeltaThreads>(mixed + key_at, channels, KeyDim, rows, kStride, s.q);
  copy_chunk<kDeltaThreads>(mixed + shape.key_width() + key_at, channels, KeyDim, rows, kStride, s.k);
  commit_copies();
  load_gates<KeyDim>(a, row0, head, s);
  wait_copies<0>();
  __syncthreads();

  float keys[kDeltaChunk / 8][4] = {}, queries[kDeltaChunk / 8][4] = {};
  row_products<KeyDim>(s.k, s.k, keys);
  row_products<KeyDim>(s.q, s.k, queries);
#pragma unroll
  for (int j = 0; j < kDeltaChunk / 8; ++j) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int i = warp * 16 + lane / 4 + e / 2 * 8, column = j * 8 + lane % 4 * 2 + e % 2;
      // Only differences of which nothing can overflow.
      const float decay = i < column ? 0.0f : power_of_two((s.log_decay[i] - s.log_decay[column]) * kLog2E);
      s.a[column * column_stride(kDeltaChunk) + i] = i > column ? s.beta[i] * keys[j][e] * decay : 0.0f;
      record[i * kDeltaChunk + column] = __uint_as_float(rounded_tf32(queries[j][e] * decay));
    }
  }
  if (threadIdx.x < kDeltaChunk) {
    const float here = s.log_decay[threadIdx.x], last = s.log_decay[kDeltaChunk - 1];
    record[kDeltaChunk * kDeltaChunk + threadIdx.x] = power_of_two(here * kLog2E);
    record[kDeltaChunk * kDeltaChunk + kDeltaChunk + threadIdx.x] = power_of_two((last - here) * kLog2E);
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

/// Whether these shapes can go through chunks.
inline bool has_chunks(const DeltaShape& shape) {
  return shape.key_dim == shape.value_dim && (shape.key_dim == 64 || shape.key_dim == 128);
}

/// What a run of so many rows needs in DeltaStepArgs::scratch to go in chunks, 0 where it cannot.
inline std::int64_t delta_scratch_bytes(const DeltaShape& shape, int rows) {
  if (!has_chunks(shape)) return 0;
  return std::int64_t{(rows + kDeltaChunk - 1) / kDeltaChunk} * shape.n_value_heads * kChunkRecord * 4;
}

}  // namespace pipo::cuda
