#pragma once

#include "kernels/cuda/delta_prepare.cuh"
#include "kernels/cuda/tensor_core.cuh"

/// Many positions of the gated delta rule, one after another and in fp32 as a single step computes them. A block owns
/// 32 columns of one head's state in registers: four lanes share a column, each with every fourth group of four rows,
/// so that a sum over rows needs two exchanges. Queries, keys and values come through shared memory, a tile of positions
/// ahead of their use.
///
/// The decay is kept beside the state, which is the true one divided by it: one product less for every element. It moves
/// into the state before it gets small.
namespace pipo::cuda {

constexpr int kScanPositions = 16;  ///< in a tile
constexpr int kScanColumns = 32;    ///< of a block
constexpr float kSmallDecay = 1e-6f;

/// What a block reads of a tile of positions. Rows from key_dim on stay zero.
template <int KeyRows>
struct ScanTile {
  alignas(16) float q[kScanPositions][KeyRows], k[kScanPositions][KeyRows], v[kScanPositions][kScanColumns];
};

/// Starts the copies of a tile's queries, keys and values.
template <int KeyRows>
__device__ __forceinline__ void copy_scan_tile(const DeltaStepArgs& a, int row0, int key_at, int value_at, int columns,
                                               ScanTile<KeyRows>& tile) {
  const int quads = a.shape.key_dim / 4, count = min(kScanPositions, a.rows - row0);
  const float* mixed = a.mixed + static_cast<std::int64_t>(row0) * a.shape.channels();
  for (int i = threadIdx.x; i < count * quads; i += kDeltaThreads) {
    const int p = i / quads, e = i % quads * 4;
    const float* from = mixed + static_cast<std::int64_t>(p) * a.shape.channels() + key_at + e;
    copy_async(tile.q[p] + e, from);
    copy_async(tile.k[p] + e, from + a.shape.key_width());
  }
  for (int i = threadIdx.x; i < count * (kScanColumns / 4); i += kDeltaThreads) {
    const int p = i / (kScanColumns / 4), e = i % (kScanColumns / 4) * 4;
    if (e < columns) copy_async(tile.v[p] + e, mixed + static_cast<std::int64_t>(p) * a.shape.channels() + value_at + e);
  }
}

/// Decay and beta of a tile's positions: thread 16 j + p holds number j of position p.
__device__ __forceinline__ float scan_gate(const DeltaStepArgs& a, int row0, int head) {
  const std::int64_t row = row0 + threadIdx.x % kScanPositions;
  if (row >= a.rows) return 0.0f;
  return a.gates[(row * 2 + threadIdx.x / kScanPositions) * a.shape.n_value_heads + head];
}

/// Products k q of a tile's positions, eight threads for each.
template <int KeyRows>
__device__ __forceinline__ void key_query_products(const ScanTile<KeyRows>& tile, float* products) {
  static_assert(kScanPositions * 8 == kDeltaThreads);
  const int p = threadIdx.x / 8;
  float sum = 0.0f;
#pragma unroll
  for (int i = threadIdx.x % 8; i < KeyRows / 4; i += 8) {
    const float4 k = *reinterpret_cast<const float4*>(tile.k[p] + 4 * i);
    const float4 q = *reinterpret_cast<const float4*>(tile.q[p] + 4 * i);
    sum += k.x * q.x + k.y * q.y + k.z * q.z + k.w * q.w;
  }
  for (int mask = 1; mask < 8; mask *= 2) sum += __shfl_xor_sync(kFullWarp, sum, mask);
  if (threadIdx.x % 8 == 0) products[p] = sum;
}

/// Groups: groups of 16 rows of the state. Grid [n_value_heads, slices of kScanColumns].
template <int Groups>
__global__ void __launch_bounds__(kDeltaThreads) delta_scan_kernel(DeltaStepArgs a) {
  constexpr int kKeyRows = 16 * Groups;
  __shared__ ScanTile<kKeyRows> tiles[2];
  __shared__ float gates[2][2][kScanPositions], products[kScanPositions];
  const DeltaShape shape = a.shape;
  const int head = blockIdx.x, key_head = head / (shape.n_value_heads / shape.n_key_heads);
  const int slice = blockIdx.y * kScanColumns, part = threadIdx.x % 4, column = threadIdx.x / 4;
  const int columns = min(kScanColumns, shape.value_dim - slice);
  const bool valid = column < columns, gate_thread = threadIdx.x < 2 * kScanPositions;
  const int key_at = key_head * shape.key_dim, value_at = 2 * shape.key_width() + head * shape.value_dim + slice;
  if (shape.key_dim < kKeyRows) {
    float* all = reinterpret_cast<float*>(tiles);
    for (int i = threadIdx.x; i < static_cast<int>(sizeof tiles / 4); i += kDeltaThreads) all[i] = 0.0f;
    __syncthreads();
  }
  wait_for_previous();

  float* state = a.state + static_cast<std::int64_t>(head) * shape.key_dim * shape.value_dim + slice + column;
  float s[Groups][4];
  const auto row_of = [&](int i, int e) { return i * 16 + part * 4 + e; };
#pragma unroll
  for (int i = 0; i < Groups; ++i) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      s[i][e] = valid && row_of(i, e) < shape.key_dim ? state[row_of(i, e) * shape.value_dim] : 0.0f;
    }
  }
  copy_scan_tile<kKeyRows>(a, 0, key_at, value_at, columns, tiles[0]);
  commit_copies();
  if (gate_thread) gates[0][threadIdx.x / kScanPositions][threadIdx.x % kScanPositions] = scan_gate(a, 0, head);
  float decay = 1.0f;
  float* out = a.out + head * shape.value_dim + slice + column;
  for (int row0 = 0; row0 < a.rows; row0 += kScanPositions) {
    const int stage = row0 / kScanPositions % 2, next = row0 + kScanPositions;
    wait_copies<0>();
    __syncthreads();  // this tile is there; nobody reads the one before any more
    if (next < a.rows) copy_scan_tile<kKeyRows>(a, next, key_at, value_at, columns, tiles[1 - stage]);
    commit_copies();
    const float next_gate = gate_thread ? scan_gate(a, next, head) : 0.0f;
    const ScanTile<kKeyRows>& tile = tiles[stage];
    const int count = min(kScanPositions, a.rows - row0);
    key_query_products<kKeyRows>(tile, products);
    __syncthreads();
    float4 k[Groups];
#pragma unroll
    for (int i = 0; i < Groups; ++i) k[i] = *reinterpret_cast<const float4*>(tile.k[0] + row_of(i, 0));
#pragma unroll 2
    for (int p = 0; p < count; ++p) {
      decay *= gates[stage][0][p];
      if (decay < kSmallDecay) {
#pragma unroll
        for (int i = 0; i < Groups; ++i) {
#pragma unroll
          for (int e = 0; e < 4; ++e) s[i][e] *= decay;
        }
        decay = 1.0f;
      }
      const float inverse = reciprocal(decay);
      float recalled[4] = {}, read[4] = {};
#pragma unroll
      for (int i = 0; i < Groups; ++i) {
        recalled[0] += s[i][0] * k[i].x;
        recalled[1] += s[i][1] * k[i].y;
        recalled[2] += s[i][2] * k[i].z;
        recalled[3] += s[i][3] * k[i].w;
      }
      float4 next_k[Groups];  // on its way while the sums go round
#pragma unroll
      for (int i = 0; i < Groups; ++i) {
        next_k[i] = *reinterpret_cast<const float4*>(tile.k[min(p + 1, kScanPositions - 1)] + row_of(i, 0));
      }
      float found = (recalled[0] + recalled[1]) + (recalled[2] + recalled[3]);
      found += __shfl_xor_sync(kFullWarp, found, 1);
      found += __shfl_xor_sync(kFullWarp, found, 2);
#pragma unroll
      for (int i = 0; i < Groups; ++i) {
        const float4 q = *reinterpret_cast<const float4*>(tile.q[p] + row_of(i, 0));
        read[0] += s[i][0] * q.x;
        read[1] += s[i][1] * q.y;
        read[2] += s[i][2] * q.z;
        read[3] += s[i][3] * q.w;
      }
      // P = decay S; u = beta (v - P^T k); S = P + k u^T; o = P^T q + u (k q)
      const float u = gates[stage][1][p] * (tile.v[p][column] - decay * found);
      const float added = u * inverse;
#pragma unroll
      for (int i = 0; i < Groups; ++i) {
        s[i][0] += k[i].x * added;
        s[i][1] += k[i].y * added;
        s[i][2] += k[i].z * added;
        s[i][3] += k[i].w * added;
        k[i] = next_k[i];
      }
      float o = (read[0] + read[1]) + (read[2] + read[3]);
      o += __shfl_xor_sync(kFullWarp, o, 1);
      o += __shfl_xor_sync(kFullWarp, o, 2);
      if (part == 0 && valid) {
        out[static_cast<std::int64_t>(row0 + p) * shape.value_width()] = decay * o + u * products[p];
      }
    }
    // Other threads may still read this tile's gates, none those of the next.
    if (gate_thread) gates[1 - stage][threadIdx.x / kScanPositions][threadIdx.x % kScanPositions] = next_gate;
  }
  wait_copies<0>();
#pragma unroll
  for (int i = 0; i < Groups; ++i) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      if (valid && row_of(i, e) < shape.key_dim) state[row_of(i, e) * shape.value_dim] = s[i][e] * decay;
    }
  }
}

}  // namespace pipo::cuda
