#include "weights/packer.h"

#include <algorithm>
#include <cmath>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>

#include "pipo/error.h"

namespace pipo {
namespace {

constexpr std::int64_t kBlockElements = 1 << 19;

/// Rows of one tensor that one thread packs at a time.
struct Block {
  std::size_t tensor = 0;
  std::int64_t first_row = 0;
  std::int64_t n_rows = 0;
};

std::vector<Block> split(const PackedHeader& header) {
  std::vector<Block> blocks;
  for (std::size_t i = 0; i < header.tensors.size(); ++i) {
    const PackedTensor& t = header.tensors[i];
    if (!t.is_matrix) {
      blocks.push_back({i, 0, 0});
      continue;
    }
    const std::int64_t panels = std::max<std::int64_t>(1, kBlockElements / (std::int64_t{t.k} * kernels::kPanelRows));
    const std::int64_t rows = panels * kernels::kPanelRows;
    for (std::int64_t row = 0; row < t.n; row += rows) blocks.push_back({i, row, std::min(rows, t.n - row)});
  }
  return blocks;
}

/// Conv [C, 1, K] to [K, C]; A_log to -exp(A_log); a zero-centred norm's weight to what it multiplies by.
void transform(const WeightSpec& spec, std::vector<float>& values) {
  if (spec.role == WeightRole::kZeroCentredNorm) {
    for (float& v : values) v += 1.0f;
  }
  if (spec.role == WeightRole::kNegExpVector) {
    for (float& v : values) v = -std::exp(v);
  }
  if (spec.role == WeightRole::kConvolution) {
    const std::int64_t channels = spec.shape[0], taps = spec.shape[2];
    std::vector<float> transposed(values.size());
    for (std::int64_t c = 0; c < channels; ++c) {
      for (std::int64_t k = 0; k < taps; ++k) transposed[k * channels + c] = values[c * taps + k];
    }
    values = std::move(transposed);
  }
}

/// Packs blocks with buffers that it keeps; one per thread.
class BlockPacker {
 public:
  BlockPacker(const PackedHeader& header, const std::vector<WeightSpec>& specs, const RowSource& source,
              const PackSink& sink)
      : header_(header), specs_(specs), source_(source), sink_(sink) {}

  void pack(const Block& block) {
    const PackedTensor& t = header_.tensors[block.tensor];
    const WeightSpec& spec = specs_[block.tensor];
    if (!t.is_matrix) return pack_vector(t, spec);
    // Panels lie one after another, so a block of whole panels packed alone has the bytes of its place in the matrix.
    const auto n = static_cast<int>(block.n_rows);
    packed_.resize(static_cast<std::size_t>(kernels::packed_bytes(t.type, t.group, n, t.k)));
    if (!source_.pack_rows(spec, t, block.first_row, n, packed_.data(), scratch_)) {
      rows_.resize(static_cast<std::size_t>(block.n_rows * t.k));
      source_.read_rows(spec, block.first_row, n, rows_.data(), scratch_);
      require_packed(t, kernels::pack_rows(t.type, t.group, n, t.k, 0, n, rows_.data(), packed_.data()));
    }
    const std::int64_t panel_bytes = kernels::packed_bytes(t.type, t.group, kernels::kPanelRows, t.k);
    sink_(t.offset + static_cast<std::uint64_t>(block.first_row / kernels::kPanelRows * panel_bytes), packed_);
  }

 private:
  void pack_vector(const PackedTensor& t, const WeightSpec& spec) {
    std::vector<float> values(static_cast<std::size_t>(t.k));
    source_.read_rows(spec, 0, spec.shape[0], values.data(), scratch_);
    transform(spec, values);
    sink_(t.offset, std::as_bytes(std::span(values)));
  }

  const PackedHeader& header_;
  const std::vector<WeightSpec>& specs_;
  const RowSource& source_;
  const PackSink& sink_;
  std::vector<float> rows_;
  std::vector<std::byte> packed_;
  std::vector<std::byte> scratch_;
};

}  // namespace

void require_packed(const PackedTensor& tensor, kernels::Status status) {
  if (status == kernels::Status::kOk) return;
  throw Error(ErrorCode::kInternal, "packing " + tensor.name + ": " + kernels::status_text(status));
}

void pack_tensors(const PackedHeader& header, const RowSource& source, const PackSink& sink,
                  const PackControl& control) {
  ModelWeights unused;
  const std::vector<WeightSpec> specs = map_weights(header.config, unused);
  const std::vector<Block> blocks = split(header);
  std::atomic<std::size_t> next{0};
  std::atomic<bool> stop{false};
  std::exception_ptr first_error;
  std::mutex error_mutex;

  const auto work = [&](bool reports) {
    try {
      BlockPacker packer(header, specs, source, sink);
      for (std::size_t i; !stop && (i = next++) < blocks.size();) {
        if (control.cancelled != nullptr && *control.cancelled) throw Error(ErrorCode::kCancelled, "loading cancelled");
        packer.pack(blocks[i]);
        if (reports && control.progress) control.progress(static_cast<double>(i + 1) / blocks.size());
      }
    } catch (...) {
      const std::lock_guard lock(error_mutex);
      if (!first_error) first_error = std::current_exception();
      stop = true;
    }
  };
  std::vector<std::thread> helpers;
  try {
    for (int i = 1; i < control.threads; ++i) helpers.emplace_back(work, false);
  } catch (const std::system_error&) {
    // At a limit of threads those that started do the work.
  }
  work(true);
  for (std::thread& helper : helpers) helper.join();
  if (first_error) std::rethrow_exception(first_error);
}

}  // namespace pipo
