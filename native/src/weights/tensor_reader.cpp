#include "weights/tensor_reader.h"

#include <bit>
#include <cstring>
#include <functional>
#include <numeric>

#include "pipo/error.h"

namespace pipo {
namespace {

float widen_bf16(std::uint16_t bits) { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }

float widen_f16(std::uint16_t bits) {
  const std::uint32_t sign = (bits & 0x8000u) << 16;
  const std::uint32_t exponent = (bits >> 10) & 0x1fu;
  const std::uint32_t fraction = bits & 0x3ffu;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000u | (fraction << 13));
  if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (fraction << 13));
  const float tiny = static_cast<float>(fraction) * 0x1p-24f;
  return sign != 0 ? -tiny : tiny;
}

void widen(DiskDtype dtype, const std::byte* from, std::int64_t count, float* out) {
  if (dtype == DiskDtype::kF32) {
    std::memcpy(out, from, static_cast<std::size_t>(count) * sizeof(float));
    return;
  }
  for (std::int64_t i = 0; i < count; ++i) {
    std::uint16_t bits;
    std::memcpy(&bits, from + 2 * i, 2);
    out[i] = dtype == DiskDtype::kBf16 ? widen_bf16(bits) : widen_f16(bits);
  }
}

}  // namespace

std::int64_t disk_dtype_bytes(DiskDtype dtype) { return dtype == DiskDtype::kF32 ? 4 : 2; }

std::int64_t element_count(const std::vector<std::int64_t>& shape) {
  return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
}

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
  const std::int64_t width = ref.shape.empty() ? 1 : element_count(ref.shape) / ref.shape[0];
  const std::int64_t row_bytes = width * disk_dtype_bytes(ref.dtype);
  scratch.resize(static_cast<std::size_t>(n_rows * row_bytes));
  files_.at(ref.file)->read(ref.offset + static_cast<std::uint64_t>(first_row * row_bytes), scratch);
  widen(ref.dtype, scratch.data(), n_rows * width, out);
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
