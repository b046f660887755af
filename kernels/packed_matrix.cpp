#include "kernels/packed_matrix.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "kernels/check_shapes.h"
#include "kernels/packed_layout.h"
#include "kernels/stored_block.h"

namespace pipo::kernels {
namespace {

using layout::kBlock;

constexpr int kMaxGroup = 64;
/// Keeps every count of inputs and bytes of a panel far from overflow.
constexpr int kMaxInputs = 1 << 28;

bool valid(WeightType type, int group, int n, int k) {
  if (n <= 0 || k <= 0 || k > kMaxInputs) return false;
  switch (type) {
    case WeightType::kF32:
    case WeightType::kBf16:
      return group == 0;
    case WeightType::kInt8:
    case WeightType::kInt4:
      return group == 32 || group == 64;
    case WeightType::kQ8:
    case WeightType::kQ5:
    case WeightType::kQ4:
      return group == kBlock;
  }
  return false;
}

/// kQ8, kQ5, kQ4: scales in f16, and numbers as other programs' block formats have them.
bool is_stored_block(WeightType type) { return type >= WeightType::kQ8; }

std::uint16_t to_bf16(float x) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(x);
  if (std::isnan(x)) return static_cast<std::uint16_t>((bits >> 16) | 0x40u);
  return static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

float from_bf16(std::uint16_t x) { return std::bit_cast<float>(static_cast<std::uint32_t>(x) << 16); }

/// Loops over a group go by this many neighbours, each with its own sum, so that compilers use vectors of any baseline.
constexpr int kNeighbours = 8;

/// Nearest even for |x| < 2^22, and, unlike std::nearbyint, in vector code of every baseline.
float round_small(float x) {
  constexpr float kShift = 12582912.0f;  // 1.5 * 2^23
  return (x + kShift) - kShift;
}

/// Rounding to whole multiples of a bf16 scale.
struct Grid {
  std::uint16_t scale;  ///< bf16
  float step, inverse;
  float low, high;

  Grid(float wanted_scale, WeightType type)
      : scale(to_bf16(wanted_scale)),
        step(from_bf16(scale)),
        inverse(1.0f / step),
        low(type == WeightType::kInt8 ? -127.0f : -8.0f),
        high(type == WeightType::kInt8 ? 127.0f : 7.0f) {}

  float round(float w) const {
    const float q = round_small(w * inverse);
    const float at_least = q < low ? low : q;
    return at_least > high ? high : at_least;
  }
};

float squared_error(const float* w, int count, const Grid& grid) {
  float sums[kNeighbours] = {};
  for (int i = 0; i < count; i += kNeighbours) {
    for (int j = 0; j < kNeighbours; ++j) {
      const float difference = w[i + j] - grid.step * grid.round(w[i + j]);
      sums[j] += difference * difference;
    }
  }
  float total = 0.0f;
  for (const float sum : sums) total += sum;
  return total;
}

/// The weight of the largest magnitude, with its sign; NaN if any weight is not finite.
float extreme_weight(const float* w, int count) {
  float low[kNeighbours] = {}, high[kNeighbours] = {}, not_finite[kNeighbours] = {};
  for (int i = 0; i < count; i += kNeighbours) {
    for (int j = 0; j < kNeighbours; ++j) {
      low[j] = w[i + j] < low[j] ? w[i + j] : low[j];
      high[j] = w[i + j] > high[j] ? w[i + j] : high[j];
      not_finite[j] += w[i + j] * 0.0f;
    }
  }
  float least = 0.0f, most = 0.0f, any = 0.0f;
  for (int j = 0; j < kNeighbours; ++j) {
    least = low[j] < least ? low[j] : least;
    most = high[j] > most ? high[j] : most;
    any += not_finite[j];
  }
  return any != 0.0f ? NAN : (most >= -least ? most : least);
}

/// The range [-8, 7] is lopsided and few values lie at its ends: the best of a few scales has clearly less error than
/// the one that maps the extreme weight to -8.
Grid best_int4_grid(const float* w, int count, float extreme) {
  constexpr float kOtherDivisors[] = {-7.5f, -7.0f, -8.75f, 7.0f};
  Grid best(extreme / -8.0f, WeightType::kInt4);
  float least = squared_error(w, count, best);
  for (const float divisor : kOtherDivisors) {
    const Grid candidate(extreme / divisor, WeightType::kInt4);
    const float error = squared_error(w, count, candidate);
    if (error >= least) continue;
    least = error;
    best = candidate;
  }
  return best;
}

/// One group of one row after rounding: w ~ scale * q.
struct QuantisedGroup {
  std::uint16_t scale = 0;  ///< bf16
  std::int8_t q[kMaxGroup] = {};
};

/// A scale whose reciprocal overflows is not worth keeping: such a group is zero. A group with a weight that is not
/// finite gets the scale NaN, so that damage shows up in the outputs.
QuantisedGroup quantise_group(WeightType type, const float* w, int count) {
  QuantisedGroup out;
  const float extreme = extreme_weight(w, count);
  if (std::isnan(extreme)) {
    out.scale = to_bf16(extreme);
  } else if (std::fabs(extreme) >= 1e-35f) {
    const Grid grid =
        type == WeightType::kInt8 ? Grid(std::fabs(extreme) / 127.0f, type) : best_int4_grid(w, count, extreme);
    out.scale = grid.scale;
    for (int i = 0; i < count; ++i) out.q[i] = static_cast<std::int8_t>(static_cast<int>(grid.round(w[i])));
  }
  return out;
}

/// Bytes of one row in one block: 32 for int8, 16 for int4; quads of them lie in successive lines.
void block_bytes_of_row(WeightType type, const std::int8_t* q, std::uint8_t* out) {
  if (type == WeightType::kInt8) {
    std::memcpy(out, q, kBlock);
    return;
  }
  for (int i = 0; i < kBlock / 2; ++i) {
    out[i] = static_cast<std::uint8_t>((q[i] + 8) | ((q[i + kBlock / 2] + 8) << 4));
  }
}

void store_quantised(WeightType type, int group, std::uint8_t* panel, int row, int index,
                     const QuantisedGroup& values) {
  std::memcpy(panel + layout::scale_offset(type, group, index, row), &values.scale, 2);
  const int row_bytes = type == WeightType::kInt8 ? kBlock : kBlock / 2;
  for (int i = 0; i < group; i += kBlock) {
    std::uint8_t* block = panel + layout::block_offset(type, group, (index * group + i) / kBlock) + 4 * row;
    std::uint8_t bytes[kBlock];
    block_bytes_of_row(type, values.q + i, bytes);
    for (int quad = 0; quad < row_bytes / 4; ++quad) {
      std::memcpy(block + quad * layout::kLineBytes, bytes + 4 * quad, 4);
    }
  }
}

/// `w` [k], or null for a row that only fills up the last panel.
void pack_quantised_row(WeightType type, int group, int k, const float* w, std::uint8_t* panel, int row) {
  const int k_padded = layout::padded_k(k);
  for (int index = 0; index * group < k_padded; ++index) {
    float values[kMaxGroup] = {};
    const int first = index * group;
    const int count = w == nullptr || first >= k ? 0 : (k - first < group ? k - first : group);
    if (count > 0) std::memcpy(values, w + first, sizeof(float) * count);
    store_quantised(type, group, panel, row, index, quantise_group(type, values, group));
  }
}

void pack_stored_row(WeightType type, int k, const float* w, std::uint8_t* panel, int row) {
  for (int first = 0; w != nullptr && first < k; first += kBlock) {
    put_block(type, panel, first / kBlock, row, round_block(type, w + first, k - first < kBlock ? k - first : kBlock));
  }
}

void pack_float_row(WeightType type, int k, const float* w, std::uint8_t* panel, int row) {
  const int k_padded = layout::padded_k(k);
  for (int i = 0; i < k_padded; ++i) {
    const float value = w != nullptr && i < k ? w[i] : 0.0f;
    if (type == WeightType::kF32) {
      std::memcpy(panel + static_cast<std::int64_t>(i) * layout::kLineBytes + 4 * row, &value, 4);
    } else {
      const std::uint16_t rounded = to_bf16(value);
      std::memcpy(panel + static_cast<std::int64_t>(i / 2) * layout::kLineBytes + 4 * row + 2 * (i % 2), &rounded, 2);
    }
  }
}

/// The 32 whole numbers of one row in one block; `block` points at the row's first quad.
void load_block(WeightType type, const std::uint8_t* block, std::int8_t* q) {
  const int lines = type == WeightType::kInt8 ? kBlock / 4 : kBlock / 8;
  std::uint8_t bytes[kBlock];
  for (int line = 0; line < lines; ++line) std::memcpy(bytes + 4 * line, block + line * layout::kLineBytes, 4);
  if (type == WeightType::kInt8) {
    std::memcpy(q, bytes, kBlock);
    return;
  }
  for (int i = 0; i < kBlock / 2; ++i) {
    q[i] = static_cast<std::int8_t>((bytes[i] & 15) - 8);
    q[i + kBlock / 2] = static_cast<std::int8_t>((bytes[i] >> 4) - 8);
  }
}

void unpack_quantised_row(const PackedMatrix& matrix, const std::uint8_t* panel, int row, float* out) {
  for (int first = 0; first < matrix.k; first += kBlock) {
    std::uint16_t bits;
    std::memcpy(&bits, panel + layout::scale_offset(matrix.type, matrix.group, first / matrix.group, row), 2);
    std::int8_t q[kBlock];
    load_block(matrix.type, panel + layout::block_offset(matrix.type, matrix.group, first / kBlock) + 4 * row, q);
    const float scale = from_bf16(bits);
    const int count = matrix.k - first < kBlock ? matrix.k - first : kBlock;
    for (int i = 0; i < count; ++i) out[first + i] = scale * static_cast<float>(q[i]);
  }
}

void unpack_stored_row(const PackedMatrix& matrix, const std::uint8_t* panel, int row, float* out) {
  for (int first = 0; first < matrix.k; first += kBlock) {
    float values[kBlock];
    unpack_block(matrix.type, panel, first / kBlock, row, values);
    const int count = matrix.k - first < kBlock ? matrix.k - first : kBlock;
    std::memcpy(out + first, values, sizeof(float) * count);
  }
}

void unpack_float_row(const PackedMatrix& matrix, const std::uint8_t* panel, int row, float* out) {
  for (int i = 0; i < matrix.k; ++i) {
    if (matrix.type == WeightType::kF32) {
      std::memcpy(out + i, panel + static_cast<std::int64_t>(i) * layout::kLineBytes + 4 * row, 4);
    } else {
      std::uint16_t value;
      std::memcpy(&value, panel + static_cast<std::int64_t>(i / 2) * layout::kLineBytes + 4 * row + 2 * (i % 2), 2);
      out[i] = from_bf16(value);
    }
  }
}

}  // namespace

std::int64_t packed_bytes(WeightType type, int group, int n, int k) {
  if (!valid(type, group, n, k)) return 0;
  const std::int64_t panels = (static_cast<std::int64_t>(n) + kPanelRows - 1) / kPanelRows;
  return panels * layout::panel_bytes(type, group, layout::padded_k(k));
}

Status pack_rows(WeightType type, int group, int n, int k, int first_row, int n_rows, const float* rows, void* packed) {
  const Status shapes = check_packing(type, group, n, k, first_row, n_rows);
  if (shapes != Status::kOk) return shapes;
  const std::int64_t panel_bytes = layout::panel_bytes(type, group, layout::padded_k(k));
  const int end = (n_rows + kPanelRows - 1) / kPanelRows * kPanelRows;
  std::memset(static_cast<std::uint8_t*>(packed) + first_row / kPanelRows * panel_bytes, 0,
              end / kPanelRows * panel_bytes);
  for (int i = 0; i < end; ++i) {
    const float* row = i < n_rows ? rows + static_cast<std::int64_t>(i) * k : nullptr;
    std::uint8_t* panel = static_cast<std::uint8_t*>(packed) + (first_row + i) / kPanelRows * panel_bytes;
    if (is_stored_block(type)) {
      pack_stored_row(type, k, row, panel, i % kPanelRows);
    } else if (layout::is_quantised(type)) {
      pack_quantised_row(type, group, k, row, panel, i % kPanelRows);
    } else {
      pack_float_row(type, k, row, panel, i % kPanelRows);
    }
  }
  return Status::kOk;
}

Status unpack_row(const PackedMatrix& matrix, int row, float* out) {
  if (matrix.data == nullptr || !valid(matrix.type, matrix.group, matrix.n, matrix.k) || row < 0 || row >= matrix.n) {
    return Status::kBadShape;
  }
  const std::int64_t panel_bytes = layout::panel_bytes(matrix.type, matrix.group, layout::padded_k(matrix.k));
  const std::uint8_t* panel = static_cast<const std::uint8_t*>(matrix.data) + row / kPanelRows * panel_bytes;
  if (is_stored_block(matrix.type)) {
    unpack_stored_row(matrix, panel, row % kPanelRows, out);
  } else if (layout::is_quantised(matrix.type)) {
    unpack_quantised_row(matrix, panel, row % kPanelRows, out);
  } else {
    unpack_float_row(matrix, panel, row % kPanelRows, out);
  }
  return Status::kOk;
}

}  // namespace pipo::kernels
