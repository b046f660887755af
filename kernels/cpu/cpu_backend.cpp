#include "kernels/cpu/cpu_backend.h"

#include <new>

#include "kernels/check_shapes.h"

namespace pipo::kernels::cpu {
namespace {

constexpr std::size_t kScratchAlign = 64;
/// Floats that one thread handles in about the time that another one needs to join in.
constexpr std::int64_t kElementGrain = 8192;

std::int64_t grain_of_rows(std::int64_t floats_per_row) {
  return (kElementGrain + floats_per_row - 1) / floats_per_row;
}

}  // namespace

Scratch::~Scratch() { ::operator delete(data_, std::align_val_t{kScratchAlign}); }

void* Scratch::reserve(std::size_t bytes) {
  if (bytes <= capacity_) return data_;
  ::operator delete(data_, std::align_val_t{kScratchAlign});
  data_ = ::operator new(bytes, std::align_val_t{kScratchAlign}, std::nothrow);
  capacity_ = data_ != nullptr ? bytes : 0;
  return data_;
}

CpuBackend::CpuBackend(const Target& target, int threads) : target_(target), pool_(threads) {}

Status CpuBackend::embed(const PackedMatrix& table, const std::int32_t* ids, std::int32_t count, float* out) {
  const Status status = check_embed(table, ids, count);
  if (status != Status::kOk) return status;
  for_ranges(count, grain_of_rows(table.k), [&](std::int64_t begin, std::int64_t end) {
    // The arguments have been checked, so that no row can fail.
    for (std::int64_t i = begin; i < end; ++i) (void)unpack_row(table, ids[i], out + i * table.k);
  });
  return Status::kOk;
}

Status CpuBackend::rms_norm(const float* x, const float* w, float eps, std::int32_t rows, std::int32_t dim, float* y) {
  if (rows < 0 || dim <= 0) return Status::kBadShape;
  for_ranges(rows, grain_of_rows(dim), [&](std::int64_t begin, std::int64_t end) {
    target_.rms_norm_rows(x, w, eps, dim, y, static_cast<std::int32_t>(begin), static_cast<std::int32_t>(end));
  });
  return Status::kOk;
}

Status CpuBackend::silu(std::int64_t count, float* x) {
  if (count < 0) return Status::kBadShape;
  for_ranges(count, kElementGrain, [&](std::int64_t begin, std::int64_t end) { target_.silu_range(x, begin, end); });
  return Status::kOk;
}

Status CpuBackend::silu_multiply(const float* gate, const float* up, std::int64_t count, float* out) {
  if (count < 0) return Status::kBadShape;
  for_ranges(count, kElementGrain,
             [&](std::int64_t begin, std::int64_t end) { target_.silu_multiply_range(gate, up, out, begin, end); });
  return Status::kOk;
}

}  // namespace pipo::kernels::cpu
