#pragma once

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/sample_request.h"
#include "kernels/cuda/step.cuh"

/// Choice of one token from the logits, with the rules of the engine's CPU sampler: mask, penalties, temperature, then
/// top-k, top-p and min-p, each judged on the unfiltered distribution, and one draw from what all of them keep.
///
/// Every block looks at a share of the ids, four per thread; the one that finishes last puts the shares together. This
/// file finds the best id, which is the token at temperature 0; sample_draw.cuh goes on from there.
namespace pipo::cuda {

struct SampleArgs {
  const float* logits = nullptr;           ///< [vocab], 16-byte aligned
  int vocab = 0;                           ///< real ids
  const SampleRequest* request = nullptr;  ///< device memory
  const std::uint64_t* slot = nullptr;     ///< device word that numbers the draw
  int slot_offset = 0;
  const int* produced = nullptr;  ///< device word: tokens before this one, for `min_new_tokens`; null: none
  int produced_offset = 0;        ///< added to it
  bool draws = true;              ///< false: only for requests at temperature 0; spares them a launch
  void* scratch = nullptr;        ///< sample_scratch_bytes(vocab), 256-byte aligned; zeros before the first use
  int* id = nullptr;              ///< result
  float* logprob = nullptr;       ///< result, NaN unless wanted
  const int* enabled = nullptr;
  StepDecision then = StepDecision::kNone;  ///< taken by the thread that knows the token, or knows that there is none
  StepState* step = nullptr;
};

using Mass = unsigned long long;

/// Largest value and the sum of exponentials relative to it.
struct LogSum {
  float largest, sum;
};
struct alignas(16) SampleBest {
  std::uint64_t key;
  LogSum plain;  ///< of the distribution that log-probabilities are of
};
__device__ __forceinline__ SampleBest of_nothing() { return {0, {-INFINITY, 0.0f}}; }
struct SampleHeader {
  std::uint64_t best_key;  ///< 0: no number anywhere
  Mass total;              ///< of all ids
  float normaliser;
  unsigned arrived_best, arrived_draw;
};
struct SampleSpace {
  SampleHeader* header;
  SampleBest* blocks;         ///< [sample_blocks]
  Mass* tile_mass;            ///< [sample_tiles], of the candidates
  Mass* bin_mass;             ///< [kSampleBins]
  std::uint64_t* candidates;  ///< [sample_candidates] keys
  int* bin_count;             ///< [kSampleBins]
  float* tile_best;           ///< [sample_tiles]
};

__device__ __forceinline__ SampleSpace sample_space(void* scratch, int vocab) {
  SampleSpace s;
  s.header = static_cast<SampleHeader*>(scratch);
  s.blocks = reinterpret_cast<SampleBest*>(static_cast<unsigned char*>(scratch) + 256);
  s.tile_mass = reinterpret_cast<Mass*>(s.blocks + sample_blocks(vocab));
  s.bin_mass = s.tile_mass + sample_tiles(vocab);
  s.candidates = reinterpret_cast<std::uint64_t*>(s.bin_mass + kSampleBins);
  s.bin_count = reinterpret_cast<int*>(s.candidates + sample_candidates(vocab));
  s.tile_best = reinterpret_cast<float*>(s.bin_count + kSampleBins);
  return s;
}

/// Greater keys are better candidates: higher logits first, then lower ids. Adding 0 makes one zero of both.
__device__ __forceinline__ std::uint64_t candidate_key(float logit, int id) {
  const unsigned bits = __float_as_uint(logit + 0.0f);
  const unsigned ordered = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
  return static_cast<std::uint64_t>(ordered) << 32 | (0xffffffffu - static_cast<unsigned>(id));
}
__device__ __forceinline__ int candidate_id(std::uint64_t key) {
  return static_cast<int>(0xffffffffu - static_cast<unsigned>(key));
}
__device__ __forceinline__ float candidate_logit(std::uint64_t key) {
  const unsigned ordered = static_cast<unsigned>(key >> 32);
  return __uint_as_float(ordered & 0x80000000u ? ordered ^ 0x80000000u : ~ordered);
}

__device__ __forceinline__ bool bans_stop_ids(const SampleArgs& a, const SampleRequest& r) {
  return (a.produced != nullptr ? *a.produced : 0) + a.produced_offset < r.min_new_tokens;
}

/// The logits of ids first...first + 3, `first` a multiple of 4; -infinity where an id may not be produced.
__device__ __forceinline__ void load_masked(const SampleArgs& a, const SampleRequest& r, bool no_stop, int first,
                                            float (&logit)[4]) {
  if (first + 4 <= a.vocab) {
    const float4 v = *reinterpret_cast<const float4*>(a.logits + first);
    logit[0] = v.x, logit[1] = v.y, logit[2] = v.z, logit[3] = v.w;
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i) logit[i] = first + i < a.vocab ? a.logits[first + i] : -INFINITY;
  }
  const unsigned may = r.allowed != nullptr && first < a.vocab ? r.allowed[first >> 3] >> (first & 7) : 15u;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if ((may >> i & 1u) == 0 || first + i == r.banned) logit[i] = -INFINITY;
  }
  for (int s = 0; no_stop && s < r.n_stop_ids; ++s) {
    const int stop = r.stop_ids[s];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (first + i == stop) logit[i] = -INFINITY;
    }
  }
}

__device__ __forceinline__ void penalize(const SampleArgs& a, const SampleRequest& r, int first, float (&logit)[4]) {
  if (r.seen == nullptr) return;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const std::uint8_t seen = first + i < a.vocab ? r.seen[first + i] : 0;
    if (seen == 0) continue;
    logit[i] = logit[i] > 0.0f ? logit[i] / r.repetition_penalty : logit[i] * r.repetition_penalty;
    if (seen & kSeenProduced) logit[i] -= r.presence_penalty;
  }
}

__device__ __forceinline__ LogSum join(LogSum a, LogSum b) {
  const float largest = fmaxf(a.largest, b.largest);
  // The comparison keeps two empty sums from becoming infinity minus infinity.
  const auto scaled = [&](LogSum x) { return x.largest == largest ? x.sum : x.sum * expf(x.largest - largest); };
  return {largest, scaled(a) + scaled(b)};
}
__device__ __forceinline__ SampleBest join(SampleBest a, SampleBest b) {
  return {a.key > b.key ? a.key : b.key, join(a.plain, b.plain)};
}

/// Of a warp, in every lane.
__device__ __forceinline__ SampleBest warp_join(SampleBest mine) {
#pragma unroll
  for (int mask = 16; mask > 0; mask /= 2) {
    SampleBest other;
    other.key = __shfl_xor_sync(kFullWarp, mine.key, mask);
    other.plain.largest = __shfl_xor_sync(kFullWarp, mine.plain.largest, mask);
    other.plain.sum = __shfl_xor_sync(kFullWarp, mine.plain.sum, mask);
    mine = join(mine, other);
  }
  return mine;
}

/// Of a block whose warps have joined, in the first warp. `shared` [kSampleWarps].
__device__ __forceinline__ SampleBest block_join(SampleBest of_warp, SampleBest* shared) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  __syncthreads();
  if (lane == 0) shared[warp] = of_warp;
  __syncthreads();
  if (warp != 0) return of_warp;
  return warp_join(lane < kSampleWarps ? shared[lane] : of_nothing());
}

/// Of four neighbouring logits.
__device__ __forceinline__ LogSum log_sum(const float (&logit)[4]) {
  LogSum all{fmaxf(fmaxf(logit[0], logit[1]), fmaxf(logit[2], logit[3])), 0.0f};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if (logit[i] != -INFINITY) all.sum += expf(logit[i] - all.largest);
  }
  return all;
}
/// Of ids first...first + 3; 0 where none is a number.
__device__ __forceinline__ std::uint64_t best_key(int first, const float (&logit)[4]) {
  std::uint64_t best = 0;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if (logit[i] != logit[i] || logit[i] == -INFINITY) continue;
    const std::uint64_t key = candidate_key(logit[i], first + i);
    if (key > best) best = key;
  }
  return best;
}

/// One thread: the token is known.
__device__ __forceinline__ void finish_sample(const SampleArgs& a, const SampleRequest& r, const SampleHeader& h,
                                              int id) {
  *a.id = id;
  *a.logprob = r.wants_logprob && h.best_key != 0 ? a.logits[id] - h.normaliser : NAN;
  decide(a.then, a.step);
}

/// Grid [sample_blocks]. Finds the best id and what log-probabilities need; ends the choice at temperature 0.
static __global__ void __launch_bounds__(kSampleThreads) sample_best_kernel(SampleArgs a) {
  __shared__ SampleBest shared[kSampleWarps];
  release_next();
  wait_for_previous();
  const int thread = blockIdx.x * blockDim.x + threadIdx.x;
  if (a.enabled != nullptr && *a.enabled == 0) {
    if (thread == 0) decide(a.then, a.step);
    return;
  }
  const SampleRequest r = *a.request;
  const SampleSpace s = sample_space(a.scratch, a.vocab);
  float logit[4];
  load_masked(a, r, bans_stop_ids(a, r), thread * 4, logit);
  SampleBest best = of_nothing();
  if (r.wants_logprob) best.plain = log_sum(logit);
  penalize(a, r, thread * 4, logit);
  best.key = best_key(thread * 4, logit);
  best = warp_join(best);
  if (threadIdx.x % 32 == 0 && thread / 32 < sample_tiles(a.vocab)) {
    s.tile_best[thread / 32] = best.key == 0 ? -INFINITY : candidate_logit(best.key);
  }
  // For sample_draw_kernel, which comes after this one.
  for (int i = thread; i < kSampleBins; i += gridDim.x * blockDim.x) {
    s.bin_mass[i] = 0;
    s.bin_count[i] = 0;
  }
  best = block_join(best, shared);
  if (threadIdx.x == 0) s.blocks[blockIdx.x] = best;
  if (!last_to_arrive(&s.header->arrived_best, static_cast<int>(gridDim.x))) return;

  best = of_nothing();
  for (int i = threadIdx.x; i < static_cast<int>(gridDim.x); i += blockDim.x) best = join(best, s.blocks[i]);
  best = block_join(warp_join(best), shared);
  if (threadIdx.x != 0) return;
  const SampleHeader header{best.key, 0, best.plain.largest + logf(best.plain.sum), 0, 0};
  *s.header = header;
  if (a.draws && r.temperature > 0.0f && best.key != 0) return;
  // No number anywhere: damaged weights, but never an id out of range.
  finish_sample(a, r, header, best.key == 0 ? 0 : candidate_id(best.key));
}

}  // namespace pipo::cuda
