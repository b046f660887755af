#pragma once

#include <cstdint>

#include "kernels/packed_matrix.h"
#include "kernels/status.h"

namespace pipo::kernels {

/// The block formats of GGUF files that can be read: a few weights with the scales that they share, little endian.
enum class BlockFormat : std::uint8_t { kQ8_0, kQ4_0, kQ4_1, kQ5_0, kQ5_1, kQ2_K, kQ3_K, kQ4_K, kQ5_K, kQ6_K, kIq4_Nl };

/// Weights of one block: 32 or 256.
int elements_per_block(BlockFormat format);
int bytes_per_block(BlockFormat format);

/// Writes what `n_elements`, a multiple of elements_per_block, of neighbouring blocks mean. Scales that are infinite or
/// NaN make their weights so.
void dequantise(BlockFormat format, const void* blocks, std::int64_t n_elements, float* out);

/// The packed type, with group 32, that keeps a format's numbers:
///   kQ8  exactly those of Q8_0 and IQ4_NL; those of Q6_K, Q3_K and Q2_K, whose scales are for 16 inputs, rounded anew
///        to 1/127 of the largest in 32;
///   kQ5  Q5_0 and Q5_1 exactly, Q5_K up to rounding its scales and minimums to f16;
///   kQ4  Q4_0 and Q4_1 exactly, Q4_K likewise.
WeightType stored_type(BlockFormat format);

/// As pack_rows (with group 32 where the type has groups), from `n_rows` rows of blocks [n_rows, k]. To a format's
/// stored_type numbers go over as they are; to other types through fp32. kBadShape if k is not whole blocks.
Status pack_blocks(BlockFormat from, WeightType to, int n, int k, int first_row, int n_rows, const void* rows,
                   void* packed);

}  // namespace pipo::kernels
