#include "weights/tensor_reader.h"

#include <algorithm>
#include <span>

#include "pipo/error.h"
#include "weights/disk_dtype.h"

namespace pipo {
namespace {

/// Where the engine's row `row` of a tensor is stored.
std::int64_t stored_row(const TensorRef& ref, std::int64_t row) {
  if (ref.interleaved_heads == 0) return row;
  const std::int64_t head_rows = ref.shape[0] / ref.interleaved_heads;
  const std::int64_t within = row % head_rows;
  return row - within + 2 * (within % (head_rows / 2)) + within / (head_rows / 2);
}

}  // namespace

void TensorReader::open(const TensorSource& tensor) {
  open_ref(tensor.name, tensor.ref);
  if (tensor.lora) {
    open_ref(tensor.name + " (LoRA A)", tensor.lora->a);
    open_ref(tensor.name + " (LoRA B)", tensor.lora->b);
  }
}

void TensorReader::open_ref(const std::string& name, const TensorRef& ref) {
  auto& file = files_[ref.file];
  try {
    if (!file) file = std::make_unique<ReadFile>(ref.file);
  } catch (const Error& error) {
    throw Error(error.code(), std::string(error.what()) + " (it holds " + name + ")");
  }
  if (ref.offset > file->size() || ref.bytes > file->size() - ref.offset) {
    throw Error(ErrorCode::kBadFile, ref.file + " is shorter than its header says: " + name + " lies beyond its end (" +
                                         std::to_string(file->size()) + " bytes); download or copy it again");
  }
}

void TensorReader::read_rows(const TensorSource& tensor, std::int64_t first_row, std::int64_t n_rows, float* out,
                             std::vector<std::byte>& scratch) const {
  try {
    read(tensor.ref, first_row, n_rows, out, scratch);
    if (tensor.lora) add_lora(*tensor.lora, first_row, n_rows, out, scratch);
  } catch (const Error& error) {
    throw Error(error.code(), std::string(error.what()) + " (while reading " + tensor.name + ")");
  }
}

void TensorReader::read(const TensorRef& ref, std::int64_t first_row, std::int64_t n_rows, float* out,
                        std::vector<std::byte>& scratch) const {
  read_stored(ref, first_row, n_rows, scratch);
  widen(ref.dtype, scratch.data(), n_rows * row_width(ref), out);
}

void TensorReader::read_stored(const TensorRef& ref, std::int64_t first_row, std::int64_t n_rows,
                               std::vector<std::byte>& out) const {
  const std::int64_t row_bytes = disk_bytes(ref.dtype, row_width(ref));
  out.resize(static_cast<std::size_t>(n_rows * row_bytes));
  const ReadFile& file = *files_.at(ref.file);
  if (ref.interleaved_heads == 0) {
    file.read(ref.offset + static_cast<std::uint64_t>(first_row * row_bytes), out);
    return;
  }
  for (std::int64_t row = 0; row < n_rows; ++row) {
    file.read(ref.offset + static_cast<std::uint64_t>(stored_row(ref, first_row + row) * row_bytes),
              std::span(out).subspan(static_cast<std::size_t>(row * row_bytes), static_cast<std::size_t>(row_bytes)));
  }
}

void TensorReader::add_lora(const LoraRef& lora, std::int64_t first_row, std::int64_t n_rows, float* out,
                            std::vector<std::byte>& scratch) const {
  const std::int64_t rank = lora.a.shape[0], width = lora.a.shape[1];
  std::vector<float> a(static_cast<std::size_t>(rank * width)), b(static_cast<std::size_t>(n_rows * rank));
  read(lora.a, 0, rank, a.data(), scratch);
  read(lora.b, first_row, n_rows, b.data(), scratch);
  std::vector<float> update(static_cast<std::size_t>(width));
  for (std::int64_t row = 0; row < n_rows; ++row) {
    std::fill(update.begin(), update.end(), 0.0f);
    for (std::int64_t r = 0; r < rank; ++r) {
      const float factor = b[row * rank + r];
      for (std::int64_t i = 0; i < width; ++i) update[i] += factor * a[r * width + i];
    }
    for (std::int64_t i = 0; i < width; ++i) out[row * width + i] += static_cast<float>(lora.scale) * update[i];
  }
}

}  // namespace pipo
