#include "weights/disk_dtype.h"

#include <bit>
#include <cstring>

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

}  // namespace

std::optional<kernels::BlockFormat> block_format(DiskDtype dtype) {
  using kernels::BlockFormat;
  switch (dtype) {
    case DiskDtype::kQ8_0:
      return BlockFormat::kQ8_0;
    case DiskDtype::kQ4_0:
      return BlockFormat::kQ4_0;
    case DiskDtype::kQ4_1:
      return BlockFormat::kQ4_1;
    case DiskDtype::kQ5_0:
      return BlockFormat::kQ5_0;
    case DiskDtype::kQ5_1:
      return BlockFormat::kQ5_1;
    case DiskDtype::kQ2K:
      return BlockFormat::kQ2_K;
    case DiskDtype::kQ3K:
      return BlockFormat::kQ3_K;
    case DiskDtype::kQ4K:
      return BlockFormat::kQ4_K;
    case DiskDtype::kQ5K:
      return BlockFormat::kQ5_K;
    case DiskDtype::kQ6K:
      return BlockFormat::kQ6_K;
    case DiskDtype::kIq4Nl:
      return BlockFormat::kIq4_Nl;
    default:
      return std::nullopt;
  }
}

std::int64_t disk_block_elements(DiskDtype dtype) {
  const auto format = block_format(dtype);
  return format ? kernels::elements_per_block(*format) : 1;
}

std::int64_t disk_bytes(DiskDtype dtype, std::int64_t elements) {
  const auto format = block_format(dtype);
  if (format) return elements / kernels::elements_per_block(*format) * kernels::bytes_per_block(*format);
  return elements * (dtype == DiskDtype::kF32 ? 4 : 2);
}

std::int64_t element_count(const std::vector<std::int64_t>& shape) {
  constexpr std::int64_t kMost = std::int64_t{1} << 62;
  std::int64_t product = 1;
  for (const std::int64_t dim : shape) {
    if (dim < 0 || (dim > 0 && product > kMost / dim)) return -1;
    product *= dim;
  }
  return product;
}

void widen(DiskDtype dtype, const std::byte* from, std::int64_t elements, float* out) {
  if (const auto format = block_format(dtype)) return kernels::dequantise(*format, from, elements, out);
  if (dtype == DiskDtype::kF32) {
    std::memcpy(out, from, static_cast<std::size_t>(elements) * sizeof(float));
    return;
  }
  for (std::int64_t i = 0; i < elements; ++i) {
    std::uint16_t bits;
    std::memcpy(&bits, from + 2 * i, 2);
    out[i] = dtype == DiskDtype::kBf16 ? widen_bf16(bits) : widen_f16(bits);
  }
}

}  // namespace pipo
