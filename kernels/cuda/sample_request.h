#pragma once

#include <cstdint>

/// What sampling reads of a request, and the memory it works in. Plain data, for host and device.
namespace pipo::cuda {

/// Flags of an id in `SampleRequest::seen`.
constexpr std::uint8_t kSeenInPrompt = 1, kSeenProduced = 2;

/// Device memory, written by the host when a request begins: a captured graph serves every request, so nothing of a
/// request may be among its arguments. The pointers are to device memory.
struct SampleRequest {
  float temperature = 0.0f, top_p = 1.0f, min_p = 0.0f;
  std::int32_t top_k = 0;  ///< 0: all
  float repetition_penalty = 1.0f, presence_penalty = 0.0f;
  std::uint64_t seed = 0;
  std::int32_t banned = -1;
  std::int32_t wants_logprob = 0;
  std::int32_t min_new_tokens = 0;  ///< stop ids are not among the first so many
  std::int32_t n_stop_ids = 0;
  const std::int32_t* stop_ids = nullptr;
  const std::uint8_t* allowed = nullptr;  ///< one bit per id; null: all
  const std::uint8_t* seen = nullptr;     ///< [vocab] flags; null: no penalties
};

/// Ids that one warp looks at together, four per lane, and those of a block. The shares do not depend on the device, so
/// that its sums are the same everywhere.
constexpr int kSampleTile = 128, kSampleWarps = 16, kSampleThreads = 32 * kSampleWarps;
constexpr int kSampleBlock = kSampleTile * kSampleWarps;
constexpr int kSampleBins = 512;

constexpr int sample_tiles(int vocab) { return (vocab + kSampleTile - 1) / kSampleTile; }
constexpr int sample_blocks(int vocab) { return (vocab + kSampleBlock - 1) / kSampleBlock; }
/// Candidates are sorted in a power of two.
constexpr std::int64_t sample_candidates(int vocab) {
  std::int64_t count = 1;
  while (count < vocab) count *= 2;
  return count;
}

/// Bytes of `SampleArgs::scratch`; sample_space() says what lies where.
constexpr std::int64_t sample_scratch_bytes(int vocab) {
  return 256 + std::int64_t{sample_blocks(vocab)} * 16 + std::int64_t{sample_tiles(vocab)} * (8 + 4) +
         kSampleBins * (8 + 4) + sample_candidates(vocab) * 8;
}

}  // namespace pipo::cuda
