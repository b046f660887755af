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
  const std::uint8_t* allowed = nullptr;  ///< one bit per id, 4-byte aligned; null: all
  const std::uint8_t* seen = nullptr;     ///< [vocab] flags, 4-byte aligned; null: no penalties
};

/// Ids that one warp looks at together, and blocks of warps.
constexpr int kSampleTile = 128, kSampleWarps = 16, kSampleThreads = 32 * kSampleWarps;
constexpr int kSampleBlock = kSampleTile * kSampleWarps;
constexpr int kSampleBins = 1024;

constexpr int sample_tiles(int vocab) { return (vocab + kSampleTile - 1) / kSampleTile; }
constexpr int sample_blocks(int vocab) { return (vocab + kSampleBlock - 1) / kSampleBlock; }

/// Bytes of `SampleArgs::scratch`: a header, what each block and each tile found, the bins, and the candidates, which
/// are sorted in a power of two.
constexpr std::int64_t sample_scratch_bytes(int vocab) {
  std::int64_t sorted = 1;
  while (sorted < vocab) sorted *= 2;
  return 256 + sample_blocks(vocab) * 16 + sample_tiles(vocab) * 16 + kSampleBins * 16 + sorted * 8;
}

}  // namespace pipo::cuda
