#pragma once

#include <cstdint>

#include "kernels/status.h"

namespace pipo::kernels {

/// The last three keep what block formats of other programs hold (kernels/block_formats.h) without rounding it again.
enum class WeightType : std::uint8_t {
  kF32 = 0,
  kBf16 = 1,
  kInt8 = 2,  ///< scale * q, q in [-127, 127]
  kInt4 = 3,  ///< scale * q, q in [-8, 7]
  kQ8 = 4,    ///< scale * q, q in [-128, 127]; scales in f16
  kQ5 = 5,    ///< scale * q + minimum, q in [0, 31]; scales and minimums in f16
  kQ4 = 6,    ///< scale * q + minimum, q in [0, 15]; scales and minimums in f16
};

/// Rows that one panel interleaves. A panel is the unit of packing and of work distribution.
inline constexpr int kPanelRows = 16;
/// Inputs are padded with zeros to a multiple of this, so that kernels have no tails along k.
inline constexpr int kInputAlign = 64;
/// Every packed matrix starts at, and is padded to, this many bytes.
inline constexpr int kPackedAlign = 64;

/// A weight matrix W [n, k] in the packed panel layout, `y = W x`. Owns nothing; usually points into a mapped file.
/// The same bytes serve every SIMD target.
struct PackedMatrix {
  const void* data = nullptr;
  WeightType type = WeightType::kF32;
  std::uint16_t group = 0;  ///< inputs per scale: 32 or 64 for int8 and int4, 32 for Q8, Q5 and Q4, else 0
  std::int32_t n = 0;       ///< outputs (rows)
  std::int32_t k = 0;       ///< inputs (columns)
};

/// Bytes of the packed form of a [n, k] matrix, padding included; 0 for an invalid combination.
std::int64_t packed_bytes(WeightType type, int group, int n, int k);

/// Packs `n_rows` rows, starting at `first_row` (a multiple of kPanelRows), into the matrix at `packed`.
/// `rows` is [n_rows, k], row-major. The last panel's missing rows are zero. Rounds to nearest even. A group with a
/// weight that is not finite, or too large for its scale, comes back as NaN, so that damage shows up in the outputs.
Status pack_rows(WeightType type, int group, int n, int k, int first_row, int n_rows, const float* rows, void* packed);

/// Writes row `row`, dequantised, to `out` [k].
Status unpack_row(const PackedMatrix& matrix, int row, float* out);

}  // namespace pipo::kernels
