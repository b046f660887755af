#pragma once

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/sample_request.h"
#include "kernels/cuda/step.cuh"

/// Choice of one token from the logits, with the rules of the engine's CPU sampler: mask, penalties, temperature, then
/// top-k, top-p and min-p, each judged on the unfiltered distribution, and one draw from what all of them keep. One
/// block: the logits lie in the second-level cache, and the order of every sum is fixed. Masses are whole numbers
/// (2^-40 of the best id's), so that they do not depend on the order of additions.
namespace pipo::cuda {

/// Candidates this far below the best (in units of temperature) have no measurable probability in fp32.
constexpr float kNegligible = 30.0f;

using Mass = unsigned long long;

struct SampleArgs {
  const float* logits = nullptr;  ///< [vocab], 16-byte aligned
  int vocab = 0;                  ///< real ids
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

__device__ __forceinline__ Mass mass_of(float below) { return static_cast<Mass>(expf(-below) * 0x1p40f); }

/// Greater keys are better candidates: higher logits first, then lower ids.
__device__ __forceinline__ std::uint64_t candidate_key(float logit, int id) {
  const unsigned bits = __float_as_uint(logit);
  const unsigned ordered = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
  return static_cast<std::uint64_t>(ordered) << 32 | (0xffffffffu - static_cast<unsigned>(id));
}
__device__ __forceinline__ int candidate_id(std::uint64_t key) {
  return static_cast<int>(0xffffffffu - static_cast<unsigned>(key));
}

/// Greatest key of the block, in every thread. `scratch` [32].
__device__ __forceinline__ std::uint64_t block_best(std::uint64_t key, std::uint64_t* scratch) {
#pragma unroll
  for (int mask = 16; mask > 0; mask /= 2) {
    const std::uint64_t other = __shfl_xor_sync(kFullWarp, key, mask);
    if (other > key) key = other;
  }
  __syncthreads();
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = key;
  __syncthreads();
  for (unsigned i = 0; i < blockDim.x / 32; ++i) key = scratch[i] > key ? scratch[i] : key;
  __syncthreads();
  return key;
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

static __global__ void __launch_bounds__(kSampleThreads, 1) sample_kernel(SampleArgs a) {
  __shared__ std::uint64_t scratch[32];
  __shared__ float sums[32];
  __shared__ Mass bin_mass[kSampleBins], thread_mass[kSampleThreads], s_total;
  __shared__ int bin_count[kSampleBins], s_count, s_cut, s_listed, s_chosen;
  release_next();
  wait_for_previous();
  if (a.enabled != nullptr && *a.enabled == 0) {
    if (threadIdx.x == 0) decide(a.then, a.step);
    return;
  }
  const SampleRequest r = *a.request;
  float* logits = const_cast<float*>(a.logits);
  auto* candidates = static_cast<std::uint64_t*>(a.scratch);
  const bool no_stop = (a.produced != nullptr ? *a.produced : 0) + a.produced_offset < r.min_new_tokens;
  const int tid = threadIdx.x, threads = blockDim.x;

  // Mask; the distribution that log-probabilities are of; penalties; the best.
  std::uint64_t plain_best = 0;
  for (int id = tid; id < a.vocab; id += threads) {
    bool may = id != r.banned && (r.allowed == nullptr || (r.allowed[id >> 3] >> (id & 7) & 1));
    for (int i = 0; no_stop && i < r.n_stop_ids; ++i) may = may && id != r.stop_ids[i];
    if (!may) logits[id] = -INFINITY;
    else if (r.wants_logprob && logits[id] == logits[id]) {
      const std::uint64_t key = candidate_key(logits[id], id);
      plain_best = key > plain_best ? key : plain_best;
    }
  }
  __syncthreads();
  float normaliser = 0.0f;
  if (r.wants_logprob) {
    const int top = candidate_id(block_best(plain_best, scratch));
    const float highest = top >= 0 && top < a.vocab ? logits[top] : 0.0f;
    float sum = 0.0f;
    for (int id = tid; id < a.vocab; id += threads) sum += expf(logits[id] - highest);
    normaliser = highest + logf(block_sum(sum, sums));
  }
  std::uint64_t best_key = 0;
  for (int id = tid; id < a.vocab; id += threads) {
    float logit = logits[id];
    if (r.seen != nullptr && r.seen[id] != 0) {
      logit = logit > 0.0f ? logit / r.repetition_penalty : logit * r.repetition_penalty;
      if (r.seen[id] & kSeenProduced) logit -= r.presence_penalty;
      logits[id] = logit;
    }
    if (logit != logit || logit == -INFINITY) continue;
    const std::uint64_t key = candidate_key(logit, id);
    best_key = key > best_key ? key : best_key;
  }
  best_key = block_best(best_key, scratch);
  // No number anywhere: damaged weights, but never an id out of range.
  const int best_id = best_key == 0 ? 0 : candidate_id(best_key);
  const float best = logits[best_id];
  if (tid == 0) s_chosen = best_id;

  if (r.temperature > 0.0f && best_key != 0) {
    const float share = r.min_p > 0.0f ? fminf(-logf(r.min_p), kNegligible) : kNegligible;
    const auto below = [&](int id) { return (best - logits[id]) / r.temperature; };
    const auto bin_of = [&](float b) { return min(static_cast<int>(b * (kSampleBins / kNegligible)), kSampleBins - 1); };
    for (int i = tid; i < kSampleBins; i += threads) {
      bin_mass[i] = 0;
      bin_count[i] = 0;
    }
    if (tid == 0) s_total = 0, s_count = 0, s_listed = 0;
    __syncthreads();
    for (int id = tid; id < a.vocab; id += threads) {
      const float b = below(id);
      if (!(b <= kNegligible)) continue;
      atomicAdd(&s_total, mass_of(b));
      if (!(b <= share)) continue;
      atomicAdd(&s_count, 1);
      atomicAdd(&bin_mass[bin_of(b)], mass_of(b));
      atomicAdd(&bin_count[bin_of(b)], 1);
    }
    __syncthreads();
    const std::uint64_t slot = *a.slot + a.slot_offset;
    const float uniform = uniform_at(r.seed, slot);
    const bool filtered = (r.top_k > 0 && r.top_k < s_count) || r.top_p < 1.0f;
    if (!filtered) {  // every candidate stays: the draw goes by id
      const int each = (a.vocab + threads - 1) / threads, from = min(tid * each, a.vocab), to = min(from + each, a.vocab);
      Mass own = 0;
      for (int id = from; id < to; ++id) own += below(id) <= share ? mass_of(below(id)) : 0;
      thread_mass[tid] = own;
      __syncthreads();
      Mass before = 0, all = 0;
      for (int i = 0; i < threads; ++i) {
        if (i == tid) before = all;
        all += thread_mass[i];
      }
      const Mass wanted = static_cast<Mass>(static_cast<double>(uniform) * static_cast<double>(all));
      if (wanted >= before && wanted < before + own) {
        for (int id = from; id < to; ++id) {
          before += below(id) <= share ? mass_of(below(id)) : 0;
          if (wanted < before) {
            s_chosen = id;
            break;
          }
        }
      }
    } else {
      const int most = r.top_k > 0 ? min(r.top_k, s_count) : s_count;
      const double enough = r.top_p >= 1.0f ? 1e300 : static_cast<double>(r.top_p) * static_cast<double>(s_total);
      if (tid == 0) {
        double mass = 0.0;
        int count = 0, bin = 0;
        for (; bin < kSampleBins - 1; ++bin) {
          mass += static_cast<double>(bin_mass[bin]);
          count += bin_count[bin];
          if (mass >= enough || count >= most) break;
        }
        s_cut = bin;
      }
      __syncthreads();
      for (int id = tid; id < a.vocab; id += threads) {
        const float b = below(id);
        if (b <= share && bin_of(b) <= s_cut) candidates[atomicAdd(&s_listed, 1)] = candidate_key(logits[id], id);
      }
      __syncthreads();
      sort_candidates(candidates, s_listed);
      if (tid == 0) {
        double mass = 0.0;
        int kept = 0;
        while (kept < min(most, s_listed) && mass < enough) {
          mass += static_cast<double>(mass_of(below(candidate_id(candidates[kept]))));
          ++kept;
        }
        double rest = static_cast<double>(uniform) * mass;
        for (int i = 0; i < kept; ++i) {
          s_chosen = candidate_id(candidates[i]);
          rest -= static_cast<double>(mass_of(below(s_chosen)));
          if (rest < 0) break;
        }
      }
    }
  }
  __syncthreads();
  if (tid != 0) return;
  const int id = s_chosen;
  *a.id = id;
  if (!r.wants_logprob) {
    *a.logprob = NAN;
    decide(a.then, a.step);
    return;
  }
  float logit = logits[id];
  if (r.seen != nullptr && r.seen[id] != 0) {
    if (r.seen[id] & kSeenProduced) logit += r.presence_penalty;
    logit = logit > 0.0f ? logit * r.repetition_penalty : logit / r.repetition_penalty;
  }
  *a.logprob = logit - normaliser;
  decide(a.then, a.step);
}

}  // namespace pipo::cuda
