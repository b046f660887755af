#include <algorithm>
#include <cstring>

#include "kernels/check_shapes.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/packed_layout.h"

namespace pipo::kernels::cpu {
namespace {

/// Weights that a thread takes at a time: enough to be read as a stream, and to stay in the second-level cache while
/// many rows of input pass by.
constexpr std::int64_t kChunkBytes = 192 << 10;
/// Below this, a chunk is over before another thread has begun.
constexpr std::int64_t kLeastChunkBytes = 24 << 10;
constexpr int kChunksPerThread = 4;
/// Rows up to here cost little more than one, because reading the weights dominates.
constexpr int kFewRows = 8;
/// Chunks of rows are a multiple of every target's tile.
constexpr int kRowAlign = 48;

struct Chunking {
  std::int64_t panel_bytes;
  std::int32_t panels;
  std::int32_t panels_per_chunk;
  std::int32_t panel_chunks;
  std::int32_t rows_per_chunk;
  std::int32_t row_chunks;

  int chunks() const { return panel_chunks * row_chunks; }
};

std::int32_t ceil_div(std::int64_t a, std::int64_t b) { return static_cast<std::int32_t>((a + b - 1) / b); }

std::int32_t panels_of(const PackedMatrix& w) { return ceil_div(w.n, kPanelRows); }

std::int64_t panel_bytes_of(const PackedMatrix& w) {
  return layout::panel_bytes(w.type, w.group, layout::padded_k(w.k));
}

Chunking chunk_term(const PackedMatrix& w, std::int32_t m, std::int64_t chunk_bytes, int row_chunks) {
  Chunking chunking;
  chunking.panel_bytes = panel_bytes_of(w);
  chunking.panels = panels_of(w);
  const std::int64_t fitting = std::max<std::int64_t>(1, chunk_bytes / chunking.panel_bytes);
  // Pairs of panels make the best tile for many rows.
  chunking.panels_per_chunk = static_cast<std::int32_t>(
      std::min<std::int64_t>(chunking.panels, m > kFewRows ? (fitting + 1) / 2 * 2 : fitting));
  chunking.panel_chunks = ceil_div(chunking.panels, chunking.panels_per_chunk);
  chunking.rows_per_chunk = std::min(m, ceil_div(ceil_div(m, row_chunks), kRowAlign) * kRowAlign);
  chunking.row_chunks = ceil_div(m, chunking.rows_per_chunk);
  return chunking;
}

/// Every chunk of every term, in the order in which threads take them. `memory` has room for `n_terms`.
struct MatmulPlan {
  Chunking* terms;
  int chunks = 0;

  MatmulPlan(Chunking* memory, const MatmulTerm* from, std::int32_t n_terms, std::int32_t m, int threads)
      : terms(memory) {
    std::int64_t bytes = 0, panels = 0;
    for (int t = 0; t < n_terms; ++t) {
      bytes += panels_of(*from[t].w) * panel_bytes_of(*from[t].w);
      panels += panels_of(*from[t].w);
    }
    const int wanted = threads == 1 ? 1 : kChunksPerThread * threads;
    // Work grows with the rows once they are many, so that smaller pieces of the weights are worth a thread.
    const std::int64_t least = std::max<std::int64_t>(1, kLeastChunkBytes / std::max(1, m / kFewRows));
    const std::int64_t chunk_bytes = std::clamp(bytes / wanted, least, std::max(least, kChunkBytes));
    const std::int64_t panel_chunks = std::max<std::int64_t>(1, std::min(panels / 2, bytes / chunk_bytes));
    const int row_chunks = m > kFewRows && panel_chunks < wanted ? ceil_div(wanted, panel_chunks) : 1;
    for (int t = 0; t < n_terms; ++t) {
      terms[t] = chunk_term(*from[t].w, m, chunk_bytes, row_chunks);
      chunks += terms[t].chunks();
    }
  }
};

}  // namespace

bool CpuBackend::prepare_input(const float* x, std::int64_t x_stride, std::int32_t m, const MatmulTerm* terms,
                               std::int32_t n_terms, MatmulInput* input) {
  bool f32 = false, bf16 = false, blocks = false;
  for (int t = 0; t < n_terms; ++t) {
    const WeightType type = terms[t].w->type;
    const bool as_bf16 = type == WeightType::kBf16 && target_.bf16_input;
    blocks |= layout::is_quantised(type);
    bf16 |= as_bf16;
    f32 |= !layout::is_quantised(type) && !as_bf16;
  }
  const std::int32_t k = terms[0].w->k;
  input->k_padded = layout::padded_k(k);
  input->row_tile = m >= target_.row_tile ? target_.row_tile : 1;
  const std::size_t floats = static_cast<std::size_t>(m) * input->k_padded;
  const std::size_t f32_bytes = f32 ? floats * sizeof(float) : 0;
  const std::size_t bf16_bytes = bf16 ? floats * sizeof(std::uint16_t) : 0;
  const std::size_t tile_bytes = input->k_padded / layout::kBlock * input->row_tile * sizeof(QuantizedBlock);
  const std::size_t block_bytes = blocks ? ceil_div(m, input->row_tile) * tile_bytes : 0;
  auto* memory = static_cast<std::byte*>(scratch_.reserve(f32_bytes + bf16_bytes + block_bytes));
  if (memory == nullptr) return false;
  if (f32) input->f32 = reinterpret_cast<float*>(memory);
  if (bf16) input->bf16 = reinterpret_cast<std::uint16_t*>(memory + f32_bytes);
  if (blocks) {
    input->blocks = reinterpret_cast<QuantizedBlock*>(memory + f32_bytes + bf16_bytes);
    if (m % input->row_tile != 0)
      std::memset(memory + f32_bytes + bf16_bytes + block_bytes - tile_bytes, 0, tile_bytes);
  }
  constexpr std::int64_t kFloatsPerPiece = 32768;
  for_ranges(m, (kFloatsPerPiece + k - 1) / k, [&](std::int64_t begin, std::int64_t end) {
    target_.prepare_rows(x, x_stride, k, *input, static_cast<std::int32_t>(begin), static_cast<std::int32_t>(end));
  });
  return true;
}

Status CpuBackend::matmul(const float* x, std::int64_t x_stride, std::int32_t m, const MatmulTerm* terms,
                          std::int32_t n_terms) {
  const Status status = check_matmul(x_stride, m, terms, n_terms);
  if (status != Status::kOk || m == 0) return status;
  MatmulInput input;
  if (!prepare_input(x, x_stride, m, terms, n_terms, &input)) return Status::kOutOfMemory;
  auto* memory = static_cast<Chunking*>(plan_scratch_.reserve(n_terms * sizeof(Chunking)));
  if (memory == nullptr) return Status::kOutOfMemory;
  const MatmulPlan plan(memory, terms, n_terms, m, threads());
  pool_.parallel_for(plan.chunks, [&](int index, int) {
    int t = 0;
    for (; index >= plan.terms[t].chunks(); ++t) index -= plan.terms[t].chunks();
    const Chunking& chunking = plan.terms[t];
    const std::int32_t panel = index / chunking.row_chunks * chunking.panels_per_chunk;
    const std::int32_t row = index % chunking.row_chunks * chunking.rows_per_chunk;
    target_.matmul_panels(terms[t], input, panel, std::min(panel + chunking.panels_per_chunk, chunking.panels), row,
                          std::min(row + chunking.rows_per_chunk, m));
  });
  return Status::kOk;
}

}  // namespace pipo::kernels::cpu
