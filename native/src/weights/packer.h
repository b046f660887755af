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

/// Where the weights of a packed image come from. Used by several threads at once; `scratch` is the caller's.
class RowSource {
 public:
  virtual ~RowSource() = default;

  /// Rows `first_row ... first_row + n_rows` of a tensor, fp32 as on disk.
  virtual void read_rows(const WeightSpec& spec, std::int64_t first_row, std::int64_t n_rows, float* out,
                         std::vector<std::byte>& scratch) const = 0;

  /// The same rows packed as `tensor` wants them, where that can be done without widening them; false otherwise.
  virtual bool pack_rows(const WeightSpec& spec, const PackedTensor& tensor, std::int64_t first_row,
                         std::int64_t n_rows, std::byte* packed, std::vector<std::byte>& scratch) const {
    return false;
  }
};

struct PackControl {
  int threads = 1;
  std::function<void(double fraction)> progress;  ///< called on the calling thread
  const std::atomic<bool>* cancelled = nullptr;
};

/// Throws kInternal, naming the tensor, unless packing it went well.
void require_packed(const PackedTensor& tensor, kernels::Status status);

/// Packs every tensor of `header` block by block in parallel; no tensor is ever whole in memory. Writes the body, not
/// the header. Throws what the source or sink throws, and kCancelled.
void pack_tensors(const PackedHeader& header, const RowSource& source, const PackSink& sink,
                  const PackControl& control);

}  // namespace pipo
