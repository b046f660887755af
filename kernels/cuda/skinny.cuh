#pragma once

#include "kernels/cuda/gemm.cuh"

/// Y = X W^T for 2 to 32 positions, bound by reading W once, like the product of one position.
///
/// The rows of W are the tall operand of the tensor cores and the positions the narrow one, eight to a fragment. A
/// block makes a few tiles of 16 rows over one slice of k; its warps take turns along k, each with pieces of its own in
/// flight in shared memory, and add their sums up at the end of a tile. The order of inputs within a product is free as
/// long as both operands agree: a thread takes whole words of W, and the block lays X out once in the order in which
/// fragments want it. Int8 and int4 weights become bf16 exactly; their scales apply in fp32 to the sum of a group.
///
/// Where k is cut into slices, the block that finishes last adds their sums up.
namespace pipo::cuda {

constexpr int kSkinnyMost = 32;  ///< positions
constexpr int kSkinnyThreads = 256, kSkinnyWarps = kSkinnyThreads / 32, kSkinnyRows = 16, kSkinnyStages = 3;
constexpr int kSkinnyStepBytes = 128;  ///< of a row that a warp takes at a time
constexpr int kSkinnyScaleBytes = 16;  ///< room for a row's scales of one step

constexpr int skinny_step_inputs(WeightType w) { return kSkinnyStepBytes / 16 * inputs_per_lane(w); }
constexpr int skinny_piece_bytes(WeightType w) {
  return kSkinnyRows * (kSkinnyStepBytes + (is_quantised(w) ? kSkinnyScaleBytes : 0));
}
constexpr int skinny_rows(bool gate_up) { return gate_up ? kSkinnyRows / 2 : kSkinnyRows; }  ///< of each matrix
constexpr int skinny_outputs(int columns) { return kSkinnyRows * 8 * columns; }  ///< of a tile
constexpr int skinny_fixed_bytes(WeightType w, int columns) {
  return kSkinnyWarps * (kSkinnyStages * skinny_piece_bytes(w) + skinny_outputs(columns) * 4);
}
/// X of 32 inputs and 8 positions.
constexpr int kSkinnyBlockBytes = 32 * 16;

/// How the work is cut: grid [ceil(tiles / tiles_per_block), slices].
struct SkinnyPlan {
  int slices = 1, steps = 0;  ///< steps of one slice
  int tiles_per_block = 1;
  float* partials = nullptr;    ///< [slices, tiles, outputs], where there are several slices
  unsigned* arrived = nullptr;  ///< [grid.x], zero between launches
};

/// Where a 16-byte piece of a row lies in its 128 bytes, so that the lanes of one load meet no bank twice: they read 2,
/// 4 or 8 neighbouring rows at a time.
template <WeightType W>
__device__ __forceinline__ int skinny_place(int row, int piece) {
  constexpr int kTogether = W == WeightType::kBf16 ? 2 : W == WeightType::kInt8 ? 4 : 8;
  return row * kSkinnyStepBytes + (piece ^ (row % kTogether * (8 / kTogether))) * 16;
}

/// A thread's weights of block `block` of 32 inputs: two fragments. Of four neighbouring inputs of quantised weights
/// the fragments hold first those at 0 and 2, then those at 1 and 3.
template <WeightType W>
__device__ __forceinline__ void skinny_weights(const unsigned char* piece, int block, unsigned (&first)[4],
                                               unsigned (&second)[4]) {
  const int lane = threadIdx.x % 32, part = lane % 4;
#pragma unroll
  for (int i = 0; i < 2; ++i) {  // the row 8 further down lies alike
    const unsigned char* from = piece + i * 8 * kSkinnyStepBytes;
    if constexpr (W == WeightType::kBf16) {
      const uint4 w = *reinterpret_cast<const uint4*>(from + skinny_place<W>(lane / 4, block * 4 + part));
      first[i] = w.x;
      first[2 + i] = w.y;
      second[i] = w.z;
      second[2 + i] = w.w;
    } else if constexpr (W == WeightType::kInt8) {
      const int place = skinny_place<W>(lane / 4, block * 2 + part / 2) + part % 2 * 8;
      const uint2 w = *reinterpret_cast<const uint2*>(from + place);
      const unsigned low = w.x ^ 0x80808080u, high = w.y ^ 0x80808080u;
      first[i] = byte_pair(low);
      first[2 + i] = byte_pair(low >> 8);
      second[i] = byte_pair(high);
      second[2 + i] = byte_pair(high >> 8);
    } else {
      const unsigned w = *reinterpret_cast<const unsigned*>(from + skinny_place<W>(lane / 4, block) + part * 4);
      first[i] = low_nibble_pair(w);
      first[2 + i] = low_nibble_pair(w >> 8);
      second[i] = high_nibble_pair(w);
      second[2 + i] = high_nibble_pair(w >> 8);
    }
  }
}

/// What thread `lane` multiplies its weights of one block with, for one position: its words of the two fragments.
template <WeightType W>
__device__ __forceinline__ uint4 skinny_inputs(const std::uint16_t* block, int lane) {
  const int part = lane % 4;
  if constexpr (W == WeightType::kBf16) return *reinterpret_cast<const uint4*>(block + part * 8);
  const int low = W == WeightType::kInt8 ? part * 8 : part * 4, high = W == WeightType::kInt8 ? low + 4 : low + 16;
  const uint2 a = *reinterpret_cast<const uint2*>(block + low), b = *reinterpret_cast<const uint2*>(block + high);
  const auto even = [](uint2 v) { return (v.x & 0xffffu) | v.y << 16; };
  const auto odd = [](uint2 v) { return v.x >> 16 | (v.y & 0xffff0000u); };
  return make_uint4(even(a), odd(a), even(b), odd(b));
}

/// Lays out the block's slice of X, [blocks][Columns][lane] pieces of 16 bytes; zeros for positions beyond m.
template <WeightType W, int Columns>
__device__ __forceinline__ void arrange_inputs(const GemmArgs& a, int k0, int blocks, uint4* to) {
  for (int i = threadIdx.x; i < blocks * Columns * 32; i += kSkinnyThreads) {
    const int lane = i % 32, column = i / 32 % Columns * 8 + lane / 4, block = i / 32 / Columns;
    const std::uint16_t* from = a.x + static_cast<std::int64_t>(column) * a.w.k_padded + k0 + block * 32;
    to[i] = column < a.m ? skinny_inputs<W>(from, lane) : make_uint4(0, 0, 0, 0);
  }
}

/// Where a lane copies pieces from: its 16 bytes of four rows and its scales, at the first step of the slice.
template <WeightType W, bool GateUp>
struct PieceSource {
  static constexpr int kMostWords = skinny_step_inputs(W) / 64;  ///< of two scales, of a row in one step
  const std::uint8_t* rows[4];
  const unsigned* scales = nullptr;
  int words = 0;

  __device__ __forceinline__ void seek(const GemmArgs& a, int tile, int first_step) {
    const int lane = threadIdx.x % 32, row0 = tile * skinny_rows(GateUp);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const WeightRow row = weight_row<GateUp>(a, row0, i * 4 + lane / 8);
      rows[i] = row.rows + row.index * row_bytes(W, a.w.k_padded) + first_step * kSkinnyStepBytes + lane % 8 * 16;
    }
    if constexpr (is_quantised(W)) {
      const int shift = a.w.group == 32 ? 0 : 1;
      const WeightRow row = weight_row<GateUp>(a, row0, lane % kSkinnyRows);
      words = kMostWords >> shift;
      scales = reinterpret_cast<const unsigned*>(row.scales) + row.index * (a.w.k_padded / 64 >> shift) +
               first_step * words;
    }
  }

  /// Starts the copies of 128 bytes of each of the 16 rows.
  __device__ __forceinline__ void copy(int step, unsigned char* to) const {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      copy_async(to + skinny_place<W>(i * 4 + lane / 8, lane % 8), rows[i] + step * kSkinnyStepBytes);
    }
    if constexpr (is_quantised(W)) {
      unsigned char* at = to + kSkinnyRows * kSkinnyStepBytes + lane % kSkinnyRows * kSkinnyScaleBytes;
#pragma unroll
      for (int i = 0; i < kMostWords; i += 2) {
        const int word = i + lane / kSkinnyRows;
        if (word < words) copy_async_word(at + word * 4, scales + step * words + word);
      }
    }
  }
};

/// Adds one piece's products to `sums`. `x`: the inputs of this step.
template <WeightType W, int Columns>
__device__ __forceinline__ void multiply_piece(const unsigned char* piece, const uint4* x, int group,
                                               float (&sums)[Columns][4]) {
  constexpr int kBlocks = skinny_step_inputs(W) / 32;
  const int lane = threadIdx.x % 32;
  [[maybe_unused]] const auto* scales =
      reinterpret_cast<const std::uint16_t*>(piece + kSkinnyRows * kSkinnyStepBytes + lane / 4 * kSkinnyScaleBytes);
  [[maybe_unused]] float part[Columns][4] = {};
#pragma unroll
  for (int block = 0; block < kBlocks; ++block) {
    unsigned first[4], second[4];
    skinny_weights<W>(piece, block, first, second);
#pragma unroll
    for (int c = 0; c < Columns; ++c) {
      const uint4 inputs = x[(block * Columns + c) * 32 + lane];
      const unsigned b[4] = {inputs.x, inputs.y, inputs.z, inputs.w};
      auto& to = is_quantised(W) ? part[c] : sums[c];
      multiply_add(to, first, b);
      multiply_add(to, second, b + 2);
    }
    if constexpr (is_quantised(W)) {
      if (block % 2 == 0 && group != 32) continue;
      const int at = group == 32 ? block : block / 2;
      const float low = bf16_to_float(scales[at]), high = bf16_to_float(scales[at + 8 * kSkinnyScaleBytes / 2]);
#pragma unroll
      for (int c = 0; c < Columns; ++c) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          sums[c][e] += (e < 2 ? low : high) * part[c][e];
          part[c][e] = 0.0f;
        }
      }
    }
  }
}

/// Puts a tile's outputs where they belong; total(i): sum i of the tile, in the order of fragments: [column group]
/// [element][lane]. Elements 2 and 3 are the rows 8 further down, with GateUp those of Up.
template <int Columns, bool GateUp, class Total>
__device__ __forceinline__ void put_tile(const GemmArgs& a, int tile, Total total) {
  for (int i = threadIdx.x; i < skinny_outputs(Columns); i += kSkinnyThreads) {
    const int lane = i % 32, element = i / 32 % 4;
    if (GateUp && element >= 2) continue;
    const int row = tile * skinny_rows(GateUp) + lane / 4 + element / 2 * 8;
    const int position = i / 128 * 8 + lane % 4 * 2 + element % 2;
    if (row >= a.w.n || position >= a.m) continue;
    put_result(a, position, row, GateUp ? silu(total(i)) * total(i + 64) : total(i));
  }
}

/// The last block of a share of rows adds the slices up, in their order.
template <int Columns, bool GateUp>
__device__ __forceinline__ void join_slices(const GemmArgs& a, const SkinnyPlan& p, int first_tile, int tiles,
                                            int all_tiles) {
  if (!last_to_arrive(p.arrived + blockIdx.x, p.slices)) return;
  for (int tile = first_tile; tile < first_tile + tiles; ++tile) {
    put_tile<Columns, GateUp>(a, tile, [&](int i) {
      float v = 0.0f;
      for (int s = 0; s < p.slices; ++s) {
        v += load_l2(p.partials + (static_cast<std::int64_t>(s) * all_tiles + tile) * skinny_outputs(Columns) + i);
      }
      return v;
    });
  }
}

template <WeightType W, int Columns, bool GateUp>
__global__ void __launch_bounds__(kSkinnyThreads, Columns < 4 ? 2 : 1) skinny_kernel(GemmArgs a, SkinnyPlan p) {
  PIPO_DYNAMIC_SHARED(shared);
  constexpr int kOutputs = skinny_outputs(Columns), kPiece = skinny_piece_bytes(W), kInputs = skinny_step_inputs(W);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int all_tiles = (a.w.n + skinny_rows(GateUp) - 1) / skinny_rows(GateUp);
  const int first_tile = blockIdx.x * p.tiles_per_block;
  const int tiles = min(p.tiles_per_block, all_tiles - first_tile), first_step = blockIdx.y * p.steps;
  const int steps = min(p.steps, (a.w.k + kInputs - 1) / kInputs - first_step);
  unsigned char* const ring = shared + warp * kSkinnyStages * kPiece;
  float* const sums_of_warps = reinterpret_cast<float*>(shared + kSkinnyWarps * kSkinnyStages * kPiece);
  uint4* const x = reinterpret_cast<uint4*>(sums_of_warps + kSkinnyWarps * kOutputs);

  // Pieces are numbered through all tiles of the block; a warp takes every eighth.
  PieceSource<W, GateUp> source;
  int next_tile = 0, next_step = warp, next_stage = 0;
  source.seek(a, first_tile, first_step);
  const auto copy_next = [&] {
    if (next_step >= steps) {
      for (; next_step >= steps; next_step -= steps) ++next_tile;
      source.seek(a, first_tile + next_tile, first_step);
    }
    if (next_tile < tiles) source.copy(next_step, ring + next_stage * kPiece);
    commit_copies();
    next_step += kSkinnyWarps;
    next_stage = next_stage + 1 == kSkinnyStages ? 0 : next_stage + 1;
  };
  release_next();
#pragma unroll
  for (int i = 0; i < kSkinnyStages - 1; ++i) copy_next();
  wait_for_previous();
  arrange_inputs<W, Columns>(a, first_step * kInputs, steps * (kInputs / 32), x);
  __syncthreads();

  int step = warp, stage = 0;
  for (int tile = 0; tile < tiles; ++tile) {
    float sums[Columns][4] = {};
    for (; step < steps; step += kSkinnyWarps) {
      wait_copies<kSkinnyStages - 2>();
      __syncwarp();  // other lanes' copies are there, and they have read what the next copies overwrite
      copy_next();
      multiply_piece<W, Columns>(ring + stage * kPiece, x + step * (kInputs / 32 * Columns * 32), a.w.group, sums);
      stage = stage + 1 == kSkinnyStages ? 0 : stage + 1;
    }
    step -= steps;
#pragma unroll
    for (int c = 0; c < Columns; ++c) {
#pragma unroll
      for (int e = 0; e < 4; ++e) sums_of_warps[warp * kOutputs + (c * 4 + e) * 32 + lane] = sums[c][e];
    }
    __syncthreads();
    const auto total = [&](int i) {
      float v = 0.0f;
#pragma unroll
      for (int w = 0; w < kSkinnyWarps; ++w) v += sums_of_warps[w * kOutputs + i];
      return is_quantised(W) ? v * kShrunk : v;
    };
    if (p.slices == 1) {
      put_tile<Columns, GateUp>(a, first_tile + tile, total);
    } else {
      float* to = p.partials + (static_cast<std::int64_t>(blockIdx.y) * all_tiles + first_tile + tile) * kOutputs;
      for (int i = threadIdx.x; i < kOutputs; i += kSkinnyThreads) to[i] = total(i);
    }
    __syncthreads();
  }
  if (blockIdx.x == gridDim.x - 1 && blockIdx.y == 0) pad_outputs(a, 0, a.m);
  if (p.slices > 1) join_slices<Columns, GateUp>(a, p, first_tile, tiles, all_tiles);
}

}  // namespace pipo::cuda
