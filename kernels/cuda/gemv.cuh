#pragma once

#include "kernels/cuda/gemv_side.cuh"
#include "kernels/cuda/tensor_core.cuh"

/// y = W x for one position, bound by reading W. A warp owns a row or two at a time and walks along k with 16 bytes per
/// lane; several matrices that share their input run as one launch.
///
/// Weights go through a ring in shared memory, one of its own for each warp, so that 4 KB of them are on their way at
/// any time, whatever the warp is at: ends of rows, sums over lanes, above all the wait for the kernel that makes x.
/// One block per multiprocessor takes at most half of it, so that the next product's block can fill its ring meanwhile.
namespace pipo::cuda {

constexpr int kGemvWarps = 16;  ///< at most
constexpr int kGemvThreads = kGemvWarps * 32;
constexpr int kGemvScaleBytes = 64;  ///< room for the scales of 512 bytes of rows

/// Ring of a warp: stages of 512 bytes of each of `rows` rows.
constexpr int gemv_stages(int rows) { return 8 / rows; }
constexpr int gemv_stage_bytes(WeightType w, int rows) {
  return rows * (512 + (is_quantised(w) ? kGemvScaleBytes : 0));
}
constexpr int gemv_ring_bytes(WeightType w, int rows) { return gemv_stages(rows) * gemv_stage_bytes(w, rows); }

/// Rows that a warp has at a time: one or two per group of lanes, or, of gate and up, one of each.
enum class GemvRows { kOne, kTwo, kGateUp };
constexpr int rows_together(GemvRows rows) { return rows == GemvRows::kOne ? 1 : 2; }

/// Which rows are whose.
template <WeightType W, GemvRows Rows>
struct GemvUnits {
  static constexpr int kRowsEach = Rows == GemvRows::kTwo ? 2 : 1;  ///< of one matrix in a group of lanes
  static constexpr int kRows = kRowsEach * (32 / lanes_per_row(W));  ///< of one matrix in a unit

  __host__ __device__ static int terms(const GemvArgs& a) { return Rows == GemvRows::kGateUp ? 1 : a.n_terms; }
  __host__ __device__ static int of_term(const GemvArgs& a, int term) {
    return (a.terms[term].w.n + kRows - 1) / kRows;
  }
  __host__ __device__ static int total(const GemvArgs& a) {
    int units = 0;
    for (int t = 0; t < terms(a); ++t) units += of_term(a, t);
    return units;
  }
};

/// A group of lanes' first row of one unit.
template <WeightType W, GemvRows Rows>
struct GemvPlace {
  using Units = GemvUnits<W, Rows>;
  int term, row;

  __device__ __forceinline__ GemvPlace(const GemvArgs& a, int unit) {
#pragma unroll 1
    for (term = 0; term + 1 < Units::terms(a); ++term) {
      const int units = Units::of_term(a, term);
      if (unit < units) break;
      unit -= units;
    }
    row = unit * Units::kRows + threadIdx.x % 32 / lanes_per_row(W) * Units::kRowsEach;
  }
};

/// Walks through all steps of all units of a warp and starts their copies. Rows beyond the last are read from it.
template <WeightType W, GemvRows Rows>
struct GemvSource {
  static constexpr int kLanes = lanes_per_row(W), R = rows_together(Rows);
  int unit, units, stride;
  int left = 0;            ///< steps of this unit; 0: no more units
  int scale_words;         ///< of two scales, of a row in one step
  bool copies_scales;      ///< this lane copies one such word
  unsigned scale_to;       ///< where in a stage
  const std::uint8_t* weights[R];
  const unsigned* scales[R];

  __device__ __forceinline__ GemvSource(const GemvArgs& a, int first, int units_, int stride_)
      : unit(first), units(units_), stride(stride_) {
    const int lane = threadIdx.x % kLanes;
    scale_words = row_step(W) / 64 >> (a.terms[0].w.group == 32 ? 0 : 1);
    copies_scales = lane < scale_words;
    scale_to = R * 512 + threadIdx.x % 32 / kLanes * 32 + lane * 4;
    seek(a);
  }
  __device__ __forceinline__ void seek(const GemvArgs& a) {
    if (unit >= units) return;
    left = a.terms[0].w.k_padded / row_step(W);
    const GemvPlace<W, Rows> place(a, unit);
    const int lane = threadIdx.x % kLanes;
#pragma unroll
    for (int r = 0; r < R; ++r) {
      const Matrix& w = a.terms[Rows == GemvRows::kGateUp ? r : place.term].w;
      const std::int64_t row = min(place.row + (Rows == GemvRows::kTwo ? r : 0), w.n - 1);
      weights[r] = w.rows + row * row_bytes(W, w.k_padded) + lane * 16;
      if constexpr (is_quantised(W)) {
        scales[r] = reinterpret_cast<const unsigned*>(w.scales) + row * (left * scale_words) + lane;
      }
    }
  }
  __device__ __forceinline__ void skip(int steps) {
#pragma unroll
    for (int r = 0; r < R; ++r) {
      weights[r] += steps * (kLanes * 16);
      if constexpr (is_quantised(W)) scales[r] += steps * scale_words;
    }
    left -= steps;
  }
  __device__ __forceinline__ void advance(const GemvArgs& a) {
    skip(1);
    if (left > 0) return;
    unit += stride;
    seek(a);
  }
  /// Starts the copies of the next stage, if there is one; to be waited for either way.
  __device__ __forceinline__ void copy(const GemvArgs& a, unsigned char* stage) {
    if (left > 0) {
#pragma unroll
      for (int r = 0; r < R; ++r) {
        copy_async(stage + r * 512 + threadIdx.x % 32 * 16, weights[r]);
        if constexpr (is_quantised(W)) {
          if (copies_scales) copy_async_word(stage + scale_to + r * kGemvScaleBytes, scales[r]);
        }
      }
      advance(a);
    }
    commit_copies();
  }
  /// Asks for `stages` further stages as far as the second-level cache.
  __device__ __forceinline__ void prefetch(const GemvArgs& a, int stages) {
    const int unit_before = unit, left_before = left;
#pragma unroll 1
    for (int i = 0; i < stages && left > 0; ++i) {
#pragma unroll
      for (int r = 0; r < R; ++r) {
        if (threadIdx.x % 8 == 0) prefetch_l2(weights[r]);
      }
      advance(a);
    }
    unit = unit_before;
    if (left_before == 0) return;
    seek(a);
    skip(left - left_before);
  }
};

/// Where a lane reads the inputs of its 16 bytes of weights; moves along the row with them.
template <WeightType W>
struct GemvInputs {
  static constexpr int kLanes = lanes_per_row(W), kBlocks = kLanes * inputs_per_lane(W) / 32;
  const unsigned char* at;
  int plane;  ///< to the second half of a lane's inputs
  const RoundedBlock* block;

  __device__ __forceinline__ GemvInputs(const GemvShared& s, int k_padded)
      : plane(is_quantised(W) ? k_padded / 2 : 2 * k_padded) {
    const int lane = threadIdx.x % kLanes;
    const void* inputs = is_quantised(W) ? static_cast<const void*>(s.q) : s.plain;
    at = static_cast<const unsigned char*>(inputs) + lane * 16;
    block = s.blocks + lane * inputs_per_lane(W) / 32;
  }
  __device__ __forceinline__ void advance() {
    at += kLanes * 16;
    block += kBlocks;
  }
};

/// One lane's 16 bytes of weights times its inputs.
template <WeightType W>
__device__ __forceinline__ float dot_chunk(uint4 w, float scale, const GemvInputs<W>& inputs) {
  if constexpr (W == WeightType::kF32) {
    const float4 x = *reinterpret_cast<const float4*>(inputs.at);
    return __uint_as_float(w.x) * x.x + __uint_as_float(w.y) * x.y + __uint_as_float(w.z) * x.z +
           __uint_as_float(w.w) * x.w;
  } else if constexpr (W == WeightType::kBf16) {
    const float4 a = *reinterpret_cast<const float4*>(inputs.at);
    const float4 b = *reinterpret_cast<const float4*>(inputs.at + inputs.plane);
    float sum = bf16_low(w.x) * a.x + bf16_high(w.x) * a.y;
    sum += bf16_low(w.y) * a.z + bf16_high(w.y) * a.w;
    sum += bf16_low(w.z) * b.x + bf16_high(w.z) * b.y;
    sum += bf16_low(w.w) * b.z + bf16_high(w.w) * b.w;
    return sum;
  } else if constexpr (W == WeightType::kInt8) {
    const uint4 x = *reinterpret_cast<const uint4*>(inputs.at);
    int sum = __dp4a(static_cast<int>(w.x), static_cast<int>(x.x), 0);
    sum = __dp4a(static_cast<int>(w.y), static_cast<int>(x.y), sum);
    sum = __dp4a(static_cast<int>(w.z), static_cast<int>(x.z), sum);
    sum = __dp4a(static_cast<int>(w.w), static_cast<int>(x.w), sum);
    return static_cast<float>(sum) * (scale * inputs.block->scale);
  } else {
    const uint4 low = *reinterpret_cast<const uint4*>(inputs.at);
    const uint4 high = *reinterpret_cast<const uint4*>(inputs.at + inputs.plane);
    const RoundedBlock block = *inputs.block;
    constexpr unsigned kNibbles = 0x0f0f0f0fu;
    int sum = block.less;
    const auto add = [&](unsigned word, unsigned x_low, unsigned x_high) {
      sum = __dp4a(static_cast<int>(word & kNibbles), static_cast<int>(x_low), sum);
      sum = __dp4a(static_cast<int>((word >> 4) & kNibbles), static_cast<int>(x_high), sum);
    };
    add(w.x, low.x, high.x);
    add(w.y, low.y, high.y);
    add(w.z, low.z, high.z);
    add(w.w, low.w, high.w);
    return static_cast<float>(sum) * (scale * block.scale);
  }
}

/// Sums of one unit become outputs. Called by the lanes that have them.
template <WeightType W, GemvRows Rows, int R>
__device__ __forceinline__ void put_unit(const GemvArgs& a, int unit, const float (&sums)[R]) {
  const GemvPlace<W, Rows> place(a, unit);
  const GemvTerm& term = a.terms[place.term];
  if constexpr (Rows == GemvRows::kGateUp) {
    if (place.row < term.w.n) (term.y + blockIdx.y * a.y_stride)[place.row] = silu(sums[0]) * sums[1];
  } else {
#pragma unroll
    for (int r = 0; r < R; ++r) {
      if (place.row + r < term.w.n) put_sum(a, term, place.row + r, sums[r]);
    }
  }
}

/// Grid [blocks, positions]. Only the first `busy` warps of a block have rows: as many as get equally many units.
template <WeightType W, GemvRows Rows>
__global__ void __launch_bounds__(kGemvThreads, 2) gemv_kernel(GemvArgs a, int busy) {
  PIPO_DYNAMIC_SHARED(shared);
  __shared__ float scratch[32];
  constexpr int kLanes = lanes_per_row(W), R = rows_together(Rows);
  constexpr int kStages = gemv_stages(R), kStageBytes = gemv_stage_bytes(W, R);
  constexpr int kAhead = 4;  // further stages that go as far as the second-level cache meanwhile
  const int k = a.terms[0].w.k, k_padded = a.terms[0].w.k_padded, steps = k_padded / row_step(W);
  const int lane = threadIdx.x % kLanes, warp = threadIdx.x / 32;
  // Neighbouring units go to different multiprocessors, so that the last ones spread over all.
  const int units = GemvUnits<W, Rows>::total(a), first = warp < busy ? warp * gridDim.x + blockIdx.x : units;
  const int stride = busy * gridDim.x;
  unsigned char* const ring = shared + warp * (kStages * kStageBytes);
  const GemvShared s = gemv_shared(shared + blockDim.x / 32 * (kStages * kStageBytes), k_padded, is_quantised(W));
  const auto disabled = [&] {
    wait_for_previous();
    return a.enabled != nullptr && *a.enabled == 0;
  };

  release_next();
  if (!a.ahead && disabled()) return;
  GemvSource<W, Rows> source(a, first, units, stride);
#pragma unroll 1
  for (int i = 0; i < kStages; ++i) source.copy(a, ring + i * kStageBytes);
  const SideRows sides(a);
  if (a.ahead) {
    source.prefetch(a, kAhead);
    sides.prefetch(a);
    if (disabled()) {
      wait_copies<0>();
      return;
    }
  }
  prepare_input<W>(a, k, k_padded, s, scratch);
  sides.multiply<W>(a, s, k_padded);

  [[maybe_unused]] const int group_shift = a.terms[0].w.group == 32 ? 5 : 6;
  [[maybe_unused]] const int scale_at = threadIdx.x % 32 / kLanes * 16 + (lane * inputs_per_lane(W) >> group_shift);
  unsigned char* stage = ring;
  for (int unit = first; unit < units; unit += stride) {
    float sums[R] = {};
    GemvInputs<W> inputs(s, k_padded);
    for (int left = steps; left > 0; --left) {
      uint4 w[R];
      float scale[R];
      wait_copies<kStages - 1>();
      if constexpr (is_quantised(W)) __syncwarp();  // scales come through other lanes
#pragma unroll
      for (int r = 0; r < R; ++r) {
        w[r] = *reinterpret_cast<const uint4*>(stage + r * 512 + threadIdx.x % 32 * 16);
        scale[r] = 1.0f;
        if constexpr (is_quantised(W)) {
          const unsigned char* scales = stage + R * 512 + r * kGemvScaleBytes;
          scale[r] = bf16_to_float(reinterpret_cast<const std::uint16_t*>(scales)[scale_at]);
        }
      }
      if constexpr (is_quantised(W)) __syncwarp();
      source.copy(a, stage);
      stage = stage == ring + (kStages - 1) * kStageBytes ? ring : stage + kStageBytes;
#pragma unroll
      for (int r = 0; r < R; ++r) sums[r] += dot_chunk<W>(w[r], scale[r], inputs);
      inputs.advance();
    }
#pragma unroll
    for (int r = 0; r < R; ++r) {
#pragma unroll
      for (int mask = kLanes / 2; mask > 0; mask /= 2) sums[r] += __shfl_xor_sync(kFullWarp, sums[r], mask);
    }
    if (lane == 0) put_unit<W, Rows>(a, unit, sums);
  }
}

}  // namespace pipo::cuda
