#include "kernels/packed_matrix.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "kernels/packed_layout.h"

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
  }
  return false;
}

std::uint16_t to_bf16(float x) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(x);
  if (std::isnan(x)) return static_cast<std::uint16_t>((bits >> 16) | 0x40u);
  return static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

float from_bf16(std::uint16_t x) { return std::bit_cast<float>(static_cast<std::uint32_t>(x) << 16); }

/// Nearest even for |x| < 2^22, and, unlike std::nearbyint, in vector code of every baseline.
float round_small(float x) {
  constexpr float kShift = 12582912.0f;  // 1.5 * 2^23
  return (x + kShift) - kShift;
}

float clamp(float x, float low, float high) { return x < low ? low : (x > high ? high : x); }

/// One group of one row after rounding: w ~ scale * q.
struct QuantisedGroup {
  std::uint16_t scale = 0;  ///< bf16
  float q[kMaxGroup] = {};  ///< whole numbers
};

struct Range {
  float low;
  float high;
};

/// Rounds `w` [count] to multiples of bf16(scale) and returns the sum of squared errors.
float round_group(const float* w, int count, float scale, Range range, QuantisedGroup* out) {
  out->scale = to_bf16(scale);
  const float step = from_bf16(out->scale);
  const float inverse = step != 0.0f ? 1.0f / step : 0.0f;
  float error = 0.0f;
  for (int i = 0; i < count; ++i) {
    out->q[i] = clamp(round_small(w[i] * inverse), range.low, range.high);
    const float difference = w[i] - step * out->q[i];
    error += difference * difference;
  }
  return error;
}

/// The weight of the largest magnitude, with its sign; NaN if any weight is not finite.
float extreme_weight(const float* w, int count) {
  float extreme = 0.0f;
  for (int i = 0; i < count; ++i) {
    if (!std::isfinite(w[i])) return NAN;
    if (std::fabs(w[i]) > std::fabs(extreme)) extreme = w[i];
  }
  return extreme;
}

/// A scale whose reciprocal overflows is not worth keeping: such a group is zero. A group with a weight that is not
/// finite gets the scale NaN, so that damage shows up in the outputs.
void quantise_group(WeightType type, const float* w, int count, QuantisedGroup* out) {
  const float extreme = extreme_weight(w, count);
  *out = {};
  if (std::isnan(extreme)) {
    out->scale = to_bf16(extreme);
    return;
  }
  if (std::fabs(extreme) < 1e-35f) return;
  if (type == WeightType::kInt8) {
    round_group(w, count, std::fabs(extreme) / 127.0f, {-127.0f, 127.0f}, out);
    return;
  }
  // The range [-8, 7] is lopsided and few values lie at its ends: the best of a few scales has clearly less error than
  // the one that maps the extreme weight to -8.
  constexpr float kDivisors[] = {-8.0f, -7.5f, -7.0f, -8.75f, 7.0f};
  float least = INFINITY;
  for (const float divisor : kDivisors) {
    QuantisedGroup candidate;
    const float error = round_group(w, count, extreme / divisor, {-8.0f, 7.0f}, &candidate);
    if (error >= least) continue;
    least = error;
    *out = candidate;
  }
}

void store_quantised(WeightType type, int group, std::uint8_t* panel, int row, int index,
                     const QuantisedGroup& values) {
  std::memcpy(panel + layout::scale_offset(type, group, index, row), &values.scale, 2);
  for (int i = 0; i < group; i += kBlock) {
    std::uint8_t* block = panel + layout::block_offset(type, group, (index * group + i) / kBlock) + 4 * row;
    const float* q = values.q + i;
    for (int j = 0; j < kBlock / 2; ++j) {
      std::uint8_t* low = block + j / 4 * layout::kLineBytes + j % 4;
      if (type == WeightType::kInt8) {
        low[0] = static_cast<std::uint8_t>(static_cast<std::int8_t>(q[j]));
        low[4 * layout::kLineBytes] = static_cast<std::uint8_t>(static_cast<std::int8_t>(q[j + kBlock / 2]));
      } else {
        low[0] =
            static_cast<std::uint8_t>(static_cast<int>(q[j] + 8.0f) | static_cast<int>(q[j + kBlock / 2] + 8.0f) << 4);
      }
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
    QuantisedGroup quantised;
    quantise_group(type, values, group, &quantised);
    store_quantised(type, group, panel, row, index, quantised);
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

void unpack_quantised_row(const PackedMatrix& matrix, const std::uint8_t* panel, int row, float* out) {
  for (int i = 0; i < matrix.k; ++i) {
    const int in_block = i % kBlock, half = in_block % (kBlock / 2);
    const std::uint8_t* block =
        panel + layout::block_offset(matrix.type, matrix.group, i / kBlock) + 4 * row + half % 4;
    int q;
    if (matrix.type == WeightType::kInt8) {
      q = static_cast<std::int8_t>(block[in_block / 4 * layout::kLineBytes]);
    } else {
      const std::uint8_t both = block[half / 4 * layout::kLineBytes];
      q = (in_block < kBlock / 2 ? both & 15 : both >> 4) - 8;
    }
    std::uint16_t scale;
    std::memcpy(&scale, panel + layout::scale_offset(matrix.type, matrix.group, i / matrix.group, row), 2);
    out[i] = from_bf16(scale) * static_cast<float>(q);
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
  if (!valid(type, group, n, k) || first_row < 0 || first_row % kPanelRows != 0 || n_rows < 0 ||
      n_rows > n - first_row) {
    return Status::kBadShape;
  }
  // A panel is written at once: only the matrix's last one may be incomplete.
  if (n_rows % kPanelRows != 0 && first_row + n_rows != n) return Status::kBadShape;
  const std::int64_t panel_bytes = layout::panel_bytes(type, group, layout::padded_k(k));
  const int end = (n_rows + kPanelRows - 1) / kPanelRows * kPanelRows;
  std::memset(static_cast<std::uint8_t*>(packed) + first_row / kPanelRows * panel_bytes, 0,
              end / kPanelRows * panel_bytes);
  for (int i = 0; i < end; ++i) {
    const float* row = i < n_rows ? rows + static_cast<std::int64_t>(i) * k : nullptr;
    std::uint8_t* panel = static_cast<std::uint8_t*>(packed) + (first_row + i) / kPanelRows * panel_bytes;
    if (layout::is_quantised(type)) {
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
  if (layout::is_quantised(matrix.type)) {
    unpack_quantised_row(matrix, panel, row % kPanelRows, out);
  } else {
    unpack_float_row(matrix, panel, row % kPanelRows, out);
  }
  return Status::kOk;
}

}  // namespace pipo::kernels
