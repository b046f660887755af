#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "weights/packed_file.h"

namespace pipo {

/// Where packed bytes go: a file or memory. Called from several threads with disjoint ranges.
using PackSink = std::function<void(std::uint64_t offset, std::span<const std::byte> bytes)>;

/// Fills `out` with rows `first_row ... first_row + n_rows` of a tensor, fp32 as on disk. `scratch` is the caller's.
using RowSource = std::function<void(const WeightSpec& spec, std::int64_t first_row, std::int64_t n_rows, float* out,
                                     std::vector<std::byte>& scratch)>;

struct PackControl {
  int threads = 1;
  std::function<void(double fraction)> progress;  ///< called on the calling thread
  const std::atomic<bool>* cancelled = nullptr;
};

/// Packs every tensor of `header` block by block in parallel; no tensor is ever whole in memory. Writes the body, not
/// the header. Throws what the source or sink throws, and kCancelled.
void pack_tensors(const PackedHeader& header, const RowSource& source, const PackSink& sink,
                  const PackControl& control);

}  // namespace pipo
