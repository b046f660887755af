#pragma once

#include "kernels/cuda/sampling.cuh"

/// The draw of a token at temperatures above 0, once the best id is known. Blocks weigh their ids relative to the best;
/// the last one to finish looks up where the draw falls. Masses are whole numbers (2^-40 of the best id's), so that no
/// sum depends on its order.
///
/// Nothing is sorted that need not be: candidates fall into bins by their distance from the best, bins lie in the order
/// of the candidates, and only ids of the bins that a limit or the draw falls into are listed and sorted.
namespace pipo::cuda {

/// Candidates this far below the best (in units of temperature) have no measurable probability in fp32.
constexpr float kNegligible = 30.0f;
constexpr int kSortRoom = 4096;  ///< candidates that are sorted in shared memory

/// Uniform in [0, 1), a function of (seed, slot) alone: two rounds of the SplitMix64 finaliser, as the engine's.
__host__ __device__ inline float uniform_at(std::uint64_t seed, std::uint64_t slot) {
  std::uint64_t x = seed + 0x9e3779b97f4a7c15ull;
  for (int round = 0; round < 2; ++round) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    x ^= x >> 31;
    if (round == 0) x += (slot + 1) * 0x9e3779b97f4a7c15ull;
  }
  return static_cast<float>(x >> 40) * 0x1p-24f;
}

/// How far ids lie below the best, and what follows from it.
struct DrawScale {
  float best, temperature, share;  ///< candidates lie at most `share` below

  __device__ float below(float logit) const { return (best - logit) / temperature; }
  __device__ Mass mass(float logit) const {
    const float b = below(logit);
    return b <= kNegligible ? static_cast<Mass>(expf(-b) * 0x1p40f) : 0;
  }
  __device__ bool is_candidate(float logit) const { return below(logit) <= share; }
  __device__ int bin(float logit) const {
    return min(static_cast<int>(below(logit) * (kSampleBins / kNegligible)), kSampleBins - 1);
  }
};

__device__ __forceinline__ DrawScale draw_scale(const SampleRequest& r, std::uint64_t best_key) {
  // min-p is a distance from the best, so it joins the cut that is made anyway.
  const float share = r.min_p > 0.0f ? fmaxf(0.0f, fminf(-logf(r.min_p), kNegligible)) : kNegligible;
  return {candidate_logit(best_key), r.temperature, share};
}

/// Mass and number of candidates.
struct Tally {
  Mass mass;
  int count;
};
__device__ __forceinline__ Tally operator+(Tally a, Tally b) { return {a.mass + b.mass, a.count + b.count}; }

/// An item of a sequence and the sums before and after it; index -1: the sequence is empty.
struct Crossing {
  int index;
  Tally before, after;
};

/// Sums of a block's bins. Shared memory adds 32-bit words at once but 64-bit ones only by retrying, so a mass, at most
/// 2^40, is added in two parts; those of a whole block fit.
struct BlockBins {
  static constexpr int kLowBits = 20;
  unsigned low[kSampleBins], high[kSampleBins];
  int count[kSampleBins];
};
static_assert(kSampleBlock < 1 << (32 - BlockBins::kLowBits));

struct DrawShared {
  union {  // bins first
    std::uint64_t keys[kSortRoom];
    BlockBins bins;
  };
  Tally warps[kSampleWarps];
  Crossing crossing;
  int listed;
};

/// Sum over the threads before this one; `all`: over all of them. Ends with a barrier.
__device__ __forceinline__ Tally block_scan(Tally own, Tally* shared, Tally* all) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  Tally sum = own;
#pragma unroll
  for (int distance = 1; distance < 32; distance *= 2) {
    const Mass mass = __shfl_up_sync(kFullWarp, sum.mass, distance);
    const int count = __shfl_up_sync(kFullWarp, sum.count, distance);
    if (lane >= distance) sum = sum + Tally{mass, count};
  }
  if (lane == 31) shared[warp] = sum;
  __syncthreads();
  Tally before{0, 0};
  *all = {0, 0};
  for (int w = 0; w < kSampleWarps; ++w) {
    if (w < warp) before = before + shared[w];
    *all = *all + shared[w];
  }
  __syncthreads();
  return {before.mass + sum.mass - own.mass, before.count + sum.count - own.count};
}

/// The first of `n` items with whose end `ends(sums so far)` holds, in every thread; the last item where none is.
/// `value(i)` is the item's Tally; sums begin with `start`.
template <class Value, class Ends>
__device__ Crossing find_crossing(int n, Tally start, Value value, Ends ends, DrawShared& s) {
  __syncthreads();
  if (threadIdx.x == 0) s.crossing = {-1, start, start};
  __syncthreads();
  Tally sum = start;
  for (int first = 0; first < n; first += kSampleThreads) {
    const int i = first + threadIdx.x;
    const Tally own = i < n ? value(i) : Tally{0, 0};
    Tally all;
    const Tally before = sum + block_scan(own, s.warps, &all), after = before + own;
    if (i < n && (i == 0 || !ends(before)) && (i == n - 1 || ends(after))) s.crossing = {i, before, after};
    sum = sum + all;
    if (ends(sum)) break;  // the same in every thread
  }
  __syncthreads();
  return s.crossing;
}

/// Sorts `count` keys, best first; those up to the next power of two are filled with zeros.
__device__ __forceinline__ void sort_candidates(std::uint64_t* keys, int count) {
  int size = 1;
  while (size < count) size *= 2;
  for (int i = count + threadIdx.x; i < size; i += blockDim.x) keys[i] = 0;
  __syncthreads();
  for (int run = 2; run <= size; run *= 2) {
    for (int step = run / 2; step > 0; step /= 2) {
      for (int i = threadIdx.x; i < size; i += blockDim.x) {
        const int other = i ^ step;
        if (other <= i) continue;
        const bool descending = (i & run) == 0;
        const std::uint64_t a = keys[i], b = keys[other];
        if ((a < b) == descending) {
          keys[i] = b;
          keys[other] = a;
        }
      }
      __syncthreads();
    }
  }
}

/// What the last block needs to look up a draw.
struct Draw {
  const SampleArgs& a;
  const SampleRequest& r;
  const SampleSpace& space;
  const DrawScale& scale;
  bool no_stop;
  DrawShared& shared;

  __device__ void load(int first, float (&logit)[4]) const {
    load_masked(a, r, no_stop, first, logit);
    penalize(a, r, first, logit);
  }
  __device__ Tally bin(int i) const { return {space.bin_mass[i], space.bin_count[i]}; }
};

/// The candidates of bins first...last, `count` of them, best first. Tiles whose best lies lower are not looked at;
/// neighbouring tiles go to different warps, for frequent ids are neighbours.
__device__ __forceinline__ const std::uint64_t* list_candidates(const Draw& d, int first_bin, int last_bin, int count) {
  std::uint64_t* keys = count <= kSortRoom ? d.shared.keys : d.space.candidates;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, tiles = sample_tiles(d.a.vocab);
  const auto listed = [&](float logit) {
    return d.scale.is_candidate(logit) && d.scale.bin(logit) >= first_bin && d.scale.bin(logit) <= last_bin;
  };
  __syncthreads();
  if (threadIdx.x == 0) d.shared.listed = 0;
  __syncthreads();
  for (int group = 0; group < tiles; group += 32 * kSampleWarps) {
    const int mine = group + lane * kSampleWarps + warp;
    const float best = mine < tiles ? d.space.tile_best[mine] : -INFINITY;
    const bool reaches = d.scale.is_candidate(best) && d.scale.bin(best) <= last_bin;
    for (unsigned left = __ballot_sync(kFullWarp, reaches); left != 0; left &= left - 1) {
      const int first = (group + (__ffs(static_cast<int>(left)) - 1) * kSampleWarps + warp) * kSampleTile + lane * 4;
      float logit[4];
      d.load(first, logit);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if (listed(logit[i])) keys[atomicAdd(&d.shared.listed, 1)] = candidate_key(logit[i], first + i);
      }
    }
  }
  __syncthreads();
  sort_candidates(keys, count);
  return keys;
}

__device__ __forceinline__ Mass share_of(float uniform, Mass all) {
  return static_cast<Mass>(static_cast<double>(uniform) * static_cast<double>(all));
}

/// Every candidate stays: the draw goes by id. -1: there is none.
__device__ __forceinline__ int draw_of_all(const Draw& d, float uniform) {
  const auto never = [](Tally) { return false; };
  const auto tile_mass = [&](int i) { return Tally{d.space.tile_mass[i], 0}; };
  const int tiles = sample_tiles(d.a.vocab);
  const Mass all = find_crossing(tiles, {0, 0}, tile_mass, never, d.shared).after.mass;
  const Mass wanted = share_of(uniform, all);
  const auto beyond = [&](Tally t) { return t.mass > wanted; };
  const Crossing tile = find_crossing(tiles, {0, 0}, tile_mass, beyond, d.shared);
  const auto id_mass = [&](int i) {
    float logit[4];
    d.load(tile.index * kSampleTile + i / 4 * 4, logit);
    const float own = i % 4 == 0 ? logit[0] : i % 4 == 1 ? logit[1] : i % 4 == 2 ? logit[2] : logit[3];
    return Tally{d.scale.is_candidate(own) ? d.scale.mass(own) : 0, 0};
  };
  const Crossing id = find_crossing(kSampleTile, tile.before, id_mass, beyond, d.shared);
  return all == 0 ? -1 : tile.index * kSampleTile + id.index;
}

/// Top-k or top-p leave some out: the draw goes from the best id down. -1: there is no candidate.
__device__ __forceinline__ int draw_of_best(const Draw& d, float uniform) {
  const double enough =
      d.r.top_p >= 1.0f ? 1e300 : static_cast<double>(d.r.top_p) * static_cast<double>(d.space.header->total);
  const auto are_enough = [&](Tally t) {
    return static_cast<double>(t.mass) >= enough || (d.r.top_k > 0 && t.count >= d.r.top_k);
  };
  const auto bin = [&](int i) { return d.bin(i); };
  const Crossing cut = find_crossing(kSampleBins, {0, 0}, bin, are_enough, d.shared);
  // Few candidates: one list has all that stay. Many: only those of the bin in which the limit lies.
  const bool few = cut.after.count <= kSortRoom;
  Tally before = few ? Tally{0, 0} : cut.before;
  int count = cut.after.count - before.count;
  const std::uint64_t* keys = list_candidates(d, few ? 0 : cut.index, cut.index, count);
  const auto candidate = [&](int i) { return Tally{d.scale.mass(candidate_logit(keys[i])), 1}; };
  const Mass wanted = share_of(uniform, find_crossing(count, before, candidate, are_enough, d.shared).after.mass);
  const auto beyond = [&](Tally t) { return t.mass > wanted; };
  if (wanted < before.mass) {
    const Crossing other = find_crossing(kSampleBins, {0, 0}, bin, beyond, d.shared);
    before = other.before;
    count = other.after.count - before.count;
    keys = list_candidates(d, other.index, other.index, count);
  }
  const Crossing chosen = find_crossing(count, before, candidate, beyond, d.shared);
  return chosen.index < 0 ? -1 : candidate_id(keys[chosen.index]);
}

/// Weighs four ids of a thread: the tile's mass, and the sums of all ids and of bins.
__device__ __forceinline__ void weigh(const Draw& d, int first, bool into_bins) {
  BlockBins& bins = d.shared.bins;
  if (into_bins) {
    for (int i = threadIdx.x; i < kSampleBins; i += kSampleThreads) bins.low[i] = bins.high[i] = 0, bins.count[i] = 0;
    __syncthreads();
  }
  float logit[4];
  d.load(first, logit);
  Mass all = 0, candidates = 0;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const Mass mass = d.scale.mass(logit[i]);
    all += mass;
    if (!d.scale.is_candidate(logit[i])) continue;
    candidates += mass;
    if (!into_bins) continue;
    const int bin = d.scale.bin(logit[i]);
    atomicAdd(&bins.low[bin], static_cast<unsigned>(mass) & ((1u << BlockBins::kLowBits) - 1));
    atomicAdd(&bins.high[bin], static_cast<unsigned>(mass >> BlockBins::kLowBits));
    atomicAdd(&bins.count[bin], 1);
  }
#pragma unroll
  for (int mask = 16; mask > 0; mask /= 2) {
    all += __shfl_xor_sync(kFullWarp, all, mask);
    candidates += __shfl_xor_sync(kFullWarp, candidates, mask);
  }
  const int tile = first / kSampleTile;
  if (threadIdx.x % 32 == 0 && tile < sample_tiles(d.a.vocab)) {
    d.space.tile_mass[tile] = candidates;
    if (all != 0) atomicAdd(&d.space.header->total, all);
  }
  if (!into_bins) return;
  __syncthreads();
  for (int i = threadIdx.x; i < kSampleBins; i += kSampleThreads) {
    if (bins.count[i] == 0) continue;
    atomicAdd(&d.space.bin_mass[i], bins.low[i] + (static_cast<Mass>(bins.high[i]) << BlockBins::kLowBits));
    atomicAdd(&d.space.bin_count[i], bins.count[i]);
  }
}

/// Grid [sample_blocks], after sample_best_kernel; nothing is left to do at temperature 0.
static __global__ void __launch_bounds__(kSampleThreads) sample_draw_kernel(SampleArgs a) {
  __shared__ DrawShared shared;
  release_next();
  wait_for_previous();
  if (a.enabled != nullptr && *a.enabled == 0) return;
  const SampleRequest r = *a.request;
  const SampleSpace space = sample_space(a.scratch, a.vocab);
  const std::uint64_t best_key = space.header->best_key;
  if (!(r.temperature > 0.0f) || best_key == 0) return;
  const DrawScale scale = draw_scale(r, best_key);
  const Draw draw{a, r, space, scale, bans_stop_ids(a, r), shared};
  const bool limited = r.top_k > 0 || r.top_p < 1.0f;
  weigh(draw, (blockIdx.x * kSampleThreads + threadIdx.x) * 4, limited);
  if (!last_to_arrive(&space.header->arrived_draw, static_cast<int>(gridDim.x))) return;

  const float uniform = uniform_at(r.seed, *a.slot + a.slot_offset);
  const auto never = [](Tally) { return false; };
  const auto bin = [&](int i) { return draw.bin(i); };
  // A top-k beyond the number of candidates leaves none out.
  const bool filtered =
      limited && (r.top_p < 1.0f || find_crossing(kSampleBins, {0, 0}, bin, never, shared).after.count > r.top_k);
  const int id = filtered ? draw_of_best(draw, uniform) : draw_of_all(draw, uniform);
  if (threadIdx.x == 0) finish_sample(a, r, *space.header, id < 0 ? candidate_id(best_key) : id);
}

}  // namespace pipo::cuda
