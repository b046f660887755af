#pragma once

#include <cstdint>
#include <optional>

#include "kernels/block_formats.h"
#include "pipo/model_description.h"

namespace pipo {

/// The block format of a type; nothing for plain numbers.
std::optional<kernels::BlockFormat> block_format(DiskDtype dtype);

/// Neighbours of a row that are stored together; 1 for plain numbers. Rows are whole blocks.
std::int64_t disk_block_elements(DiskDtype dtype);

/// Bytes of `elements` numbers, which are whole blocks.
std::int64_t disk_bytes(DiskDtype dtype, std::int64_t elements);

/// Elements of a shape; -1 where that does not fit 62 bits or a dimension is negative.
std::int64_t element_count(const std::vector<std::int64_t>& shape);

/// fp32 values of `elements` stored numbers.
void widen(DiskDtype dtype, const std::byte* from, std::int64_t elements, float* out);

}  // namespace pipo
