#pragma once

#include "kernels/cuda/attention_rows.cuh"
#include "kernels/cuda/tensor_core.cuh"

/// Attention of many rows over a cache in bf16, on the tensor cores. A block takes one kv head and a tile of rows times
/// the query heads of its group, 16 to a warp, so that each key and value read serves the whole group. Keys and values
/// come in turns: while scores are computed the values are on their way, while values are added up the next keys are.
///
/// The softmax runs along, in powers of two (the queries carry the factor). Its reference point moves only when a score
/// passes it by 2^kGrowth: sums are in fp32 and bf16 weights are as exact there as below one.
namespace pipo::cuda {

constexpr float kGrowth = 8.0f;

template <int HeadDim, int Warps, int Positions>
struct AttentionTile {
  static constexpr int kRows = 16 * Warps, kThreads = 32 * Warps;
  static constexpr int kQueryBytes = kRows * HeadDim * 2, kKeyBytes = Positions * HeadDim * 2;
  static constexpr int kSharedBytes = kQueryBytes + 2 * kKeyBytes;
  static_assert(kRows <= kMostTileRows);
};

/// Byte offset of a 16-byte piece in a tile of rows of HeadDim: eight neighbouring rows at one piece fall on eight
/// different groups of four banks.
template <int HeadDim>
__device__ __forceinline__ int head_tile_offset(int row, int piece) {
  return row * (HeadDim * 2) + ((piece ^ (HeadDim == 32 ? row >> 1 & 3 : row & 7)) * 16);
}

/// Starts the copies of a tile of rows; at(row) is where a row lies.
template <int HeadDim, int Rows, int Threads, class At>
__device__ __forceinline__ void copy_tile(unsigned char* tile, At at) {
  constexpr int kPieces = HeadDim / 8;
#pragma unroll 4  // all at once would take registers from the sums
  for (int i = 0; i < Rows * kPieces / Threads; ++i) {
    const int index = threadIdx.x + i * Threads, row = index / kPieces, piece = index % kPieces;
    copy_async(tile + head_tile_offset<HeadDim>(row, piece), at(row) + piece * 8);
  }
}

/// s = the warp's 16 queries times the tile's keys.
template <int HeadDim, int Positions>
__device__ __forceinline__ void score_tile(const unsigned char* queries, const unsigned char* keys,
                                           float (&s)[Positions / 8][4]) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int j = 0; j < Positions / 8; ++j) s[j][0] = s[j][1] = s[j][2] = s[j][3] = 0.0f;
#pragma unroll 4
  for (int k = 0; k < HeadDim / 16; ++k) {
    unsigned q[4];
    load_matrices(q, queries + head_tile_offset<HeadDim>(lane % 16, k * 2 + lane / 16));
#pragma unroll
    for (int j = 0; j < Positions / 16; ++j) {
      unsigned key[4];
      load_matrices(key, keys + head_tile_offset<HeadDim>(j * 16 + lane % 8 + lane / 16 * 8, k * 2 + lane / 8 % 2));
      multiply_add(s[2 * j], q, key);
      multiply_add(s[2 * j + 1], q, key + 2);
    }
  }
}

/// sums += the tile's values weighted by `weights`, 16 positions to a fragment.
template <int HeadDim, int Positions>
__device__ __forceinline__ void add_values(const unsigned char* values, const unsigned (&weights)[Positions / 16][4],
                                           float (&sums)[HeadDim / 8][4]) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int k = 0; k < Positions / 16; ++k) {
#pragma unroll
    for (int j = 0; j < HeadDim / 16; ++j) {
      unsigned v[4];
      load_matrices_turned(v, values + head_tile_offset<HeadDim>(k * 16 + lane % 16, j * 2 + lane / 16));
      multiply_add(sums[2 * j], weights[k], v);
      multiply_add(sums[2 * j + 1], weights[k], v + 2);
    }
  }
}

/// What a thread keeps of each of its two rows, rows lane / 4 and 8 more of the warp's 16.
struct TileRow {
  int highest = -1;             ///< last position that it sees, none where the tile has no such row
  float reference = -INFINITY;  ///< of the softmax
  float total = 0.0f;           ///< this thread's share of the weights
};

/// Scores become weights relative to each row's reference point, which moves where they outgrow it.
template <int Count, int Sums>
__device__ __forceinline__ void weigh(const float (&s)[Count][4], TileRow (&rows)[2], float (&sums)[Sums][4],
                                      unsigned (&weights)[Count / 2][4]) {
  float largest[2] = {-INFINITY, -INFINITY};
#pragma unroll
  for (int j = 0; j < Count; ++j) {
    largest[0] = fmaxf(largest[0], fmaxf(s[j][0], s[j][1]));
    largest[1] = fmaxf(largest[1], fmaxf(s[j][2], s[j][3]));
  }
  bool outgrown = false;
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    largest[h] = fmaxf(largest[h], __shfl_xor_sync(kFullWarp, largest[h], 1));
    largest[h] = fmaxf(largest[h], __shfl_xor_sync(kFullWarp, largest[h], 2));
    outgrown = outgrown || largest[h] > rows[h].reference + kGrowth;
  }
  if (__any_sync(kFullWarp, outgrown)) {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const float moved = fmaxf(rows[h].reference, largest[h]);
      const float shrink = moved > -INFINITY ? power_of_two(rows[h].reference - moved) : 0.0f;
      rows[h].reference = moved;
      rows[h].total *= shrink;
#pragma unroll
      for (int j = 0; j < Sums; ++j) {
        sums[j][2 * h] *= shrink;
        sums[j][2 * h + 1] *= shrink;
      }
    }
  }
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const float from = rows[h].reference > -INFINITY ? rows[h].reference : 0.0f;  // a row that has seen nothing yet
#pragma unroll
    for (int j = 0; j < Count; ++j) {
      const float low = power_of_two(s[j][2 * h] - from), high = power_of_two(s[j][2 * h + 1] - from);
      rows[h].total += low + high;
      weights[j / 2][j % 2 * 2 + h] = bf16_pair(low, high);
    }
  }
}

/// A row's result: gated, or as a record of attention_join_kernel where its positions are shared out.
template <int HeadDim>
__device__ __forceinline__ void store_row(const AttentionRowsArgs& a, std::int64_t head, const TileRow& r, int half,
                                          const float (&sums)[HeadDim / 8][4]) {
  const int lane = threadIdx.x % 32;
  float total = r.total + __shfl_xor_sync(kFullWarp, r.total, 1);
  total += __shfl_xor_sync(kFullWarp, total, 2);
  if (r.highest < 0) return;
  if (gridDim.z > 1) {
    const std::int64_t record = static_cast<std::int64_t>(blockIdx.z) * a.rows * a.n_heads + head;
    float* to = a.partial + record * (HeadDim + 2);
#pragma unroll
    for (int j = 0; j < HeadDim / 8; ++j) {
      *reinterpret_cast<float2*>(to + j * 8 + lane % 4 * 2) = make_float2(sums[j][2 * half], sums[j][2 * half + 1]);
    }
    if (lane % 4 == 0) *reinterpret_cast<float2*>(to + HeadDim) = make_float2(r.reference, total);
    return;
  }
  const float* gate = a.q_gate + head * 2 * HeadDim + HeadDim + lane % 4 * 2;
  float* out = a.out + head * HeadDim + lane % 4 * 2;
  const float factor = 1.0f / total;
#pragma unroll
  for (int j = 0; j < HeadDim / 8; ++j) {
    const float2 g = *reinterpret_cast<const float2*>(gate + j * 8);
    *reinterpret_cast<float2*>(out + j * 8) = make_float2(sums[j][2 * half] * factor * sigmoid(g.x),
                                                          sums[j][2 * half + 1] * factor * sigmoid(g.y));
  }
}

/// Grid [tiles of rows, n_kv_heads, shares of the positions].
template <int HeadDim, int Warps, int Positions>
__global__ void __launch_bounds__(32 * Warps) attention_tiles_kernel(AttentionRowsArgs a) {
  PIPO_DYNAMIC_SHARED(shared);
  using Tile = AttentionTile<HeadDim, Warps, Positions>;
  unsigned char *queries = shared, *keys = shared + Tile::kQueryBytes, *values = keys + Tile::kKeyBytes;
  const int group = a.n_heads / a.n_kv_heads, rows_each = Tile::kRows / group, kv = blockIdx.y;
  const int tile = gridDim.x - 1 - blockIdx.x;  // the last rows see most: they go first
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, mine = warp * 16 + lane / 4;
  const int first_row = tile * rows_each, count = min(a.rows - first_row, rows_each);
  const int position = a.first_position + first_row;  // of the tile's first row
  TileRow rows[2];
  if (mine < count * group) rows[0].highest = position + mine / group;
  if (mine + 8 < count * group) rows[1].highest = position + (mine + 8) / group;
  const int warp_end = warp * 16 < count * group ? position + min((warp * 16 + 15) / group, count - 1) : -1;

  const int begin = a.first_visible, end = position + count;
  const int steps = (end - begin + Positions - 1) / Positions, splits = gridDim.z;
  const int step0 = blockIdx.z * steps / splits, step1 = (blockIdx.z + 1) * steps / splits;
  const auto kv_row = [&](const void* cache, int step) {
    return [=](int row) {  // rows behind the end are read from the last one and masked
      const std::int64_t from = min(begin + step * Positions + row, end - 1);
      return static_cast<const std::uint16_t*>(cache) + (from * a.n_kv_heads + kv) * HeadDim;
    };
  };
  wait_for_previous();
  copy_tile<HeadDim, Tile::kRows, Tile::kThreads>(queries, [&](int index) {
    const int row = first_row + min(index / group, count - 1);
    return a.queries + (static_cast<std::int64_t>(row) * a.n_heads + kv * group + index % group) * HeadDim;
  });
  if (step0 < step1) copy_tile<HeadDim, Positions, Tile::kThreads>(keys, kv_row(a.keys, step0));
  commit_copies();
  float sums[HeadDim / 8][4] = {};
  for (int step = step0; step < step1; ++step) {
    const int position0 = begin + step * Positions;
    const bool active = position0 <= warp_end;
    unsigned weights[Positions / 16][4];
    wait_copies<0>();
    __syncthreads();  // the keys are there; nobody reads the values of the step before any more
    copy_tile<HeadDim, Positions, Tile::kThreads>(values, kv_row(a.values, step));
    commit_copies();
    if (active) {
      float s[Positions / 8][4];
      score_tile<HeadDim, Positions>(queries + warp * 16 * HeadDim * 2, keys, s);
      if (position0 + Positions - 1 > position) {
#pragma unroll
        for (int j = 0; j < Positions / 8; ++j) {
#pragma unroll
          for (int e = 0; e < 4; ++e) {
            if (position0 + j * 8 + lane % 4 * 2 + e % 2 > rows[e / 2].highest) s[j][e] = -INFINITY;
          }
        }
      }
      weigh(s, rows, sums, weights);
    }
    wait_copies<0>();
    __syncthreads();  // the values are there; nobody reads the keys any more
    if (step + 1 < step1) copy_tile<HeadDim, Positions, Tile::kThreads>(keys, kv_row(a.keys, step + 1));
    commit_copies();
    if (active) add_values<HeadDim, Positions>(values, weights, sums);
  }
  wait_copies<0>();
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const int index = mine + 8 * h;
    const std::int64_t row = first_row + index / group, head = row * a.n_heads + kv * group + index % group;
    store_row<HeadDim>(a, head, rows[h], h, sums);
  }
}

/// Joins the shares of one row and head and applies the gate. Grid [n_heads, rows], HeadDim threads.
template <int HeadDim>
__global__ void __launch_bounds__(HeadDim) attention_join_kernel(AttentionRowsArgs a, int splits) {
  const std::int64_t head = static_cast<std::int64_t>(blockIdx.y) * a.n_heads + blockIdx.x;
  const std::int64_t step = static_cast<std::int64_t>(a.rows) * a.n_heads * (HeadDim + 2);
  const float* record = a.partial + head * (HeadDim + 2);
  const int d = threadIdx.x;
  wait_for_previous();
  float best = -INFINITY, sum = 0.0f, weight = 0.0f;
  for (int s = 0; s < splits; ++s) best = fmaxf(best, record[s * step + HeadDim]);
  for (int s = 0; s < splits; ++s) {
    const float factor = power_of_two(record[s * step + HeadDim] - best);  // 0 of a share that saw nothing
    sum += factor * record[s * step + d];
    weight += factor * record[s * step + HeadDim + 1];
  }
  a.out[head * HeadDim + d] = sum / weight * sigmoid(a.q_gate[head * 2 * HeadDim + HeadDim + d]);
}

}  // namespace pipo::cuda
