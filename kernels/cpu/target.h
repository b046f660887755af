#pragma once

#include <cstdint>

#include "kernels/ops.h"

/// What a SIMD target offers to the CPU backend: plain functions over a range of units, so that the backend can spread
/// one operation over its threads. A target is one translation unit (`targets/<name>.cpp`) compiled for instructions
/// that this CPU may lack. Therefore code of a target
///  - lives in the namespace `pipo::kernels::cpu::PIPO_TARGET` and is reached only through its table, after the CPU
///  check;
///  - uses no standard library beyond <cstdint>: an inline function of a shared header (std::exp, std::max, a
///  container)
///    could be emitted with wide instructions and then be picked by the linker for everybody;
///  - has no dynamic initialisers and allocates nothing.
namespace pipo::kernels::cpu {

/// 32 inputs of one row, rounded to int8. All that a kernel needs of them lies together.
struct QuantizedBlock {
  std::int8_t q[32];         ///< in [-127, 127]
  float scale;               ///< x ~ scale * q; NaN if an input is not finite
  std::int32_t int8_offset;  ///< -128 * sum(q), for int8 weights that are read with 128 added
  std::int32_t int4_offset;  ///< -8 * sum(q), for int4 weights, which are stored with 8 added
  float scaled_sum;          ///< scale * sum(q), for weights with a minimum
};

/// The rows of one matmul's input in the forms that kernels read, each padded with zeros to `k_padded`.
/// Only the forms that some term needs are filled.
struct MatmulInput {
  std::int32_t k_padded = 0;
  float* f32 = nullptr;              ///< [m, k_padded]
  std::uint16_t* bf16 = nullptr;     ///< [m, k_padded]
  QuantizedBlock* blocks = nullptr;  ///< [m, k_padded / 32], or with a row_tile as `block_index` says
  /// Rows that are interleaved block by block: [rows / row_tile, k_padded / 32, row_tile], zeros in the last tile.
  std::int32_t row_tile = 1;
};

struct AttentionPrepareArgs {
  const AttentionShape* shape;
  const float* q;  ///< null: only K/V rows are written
  const float* k;
  const float* v;
  const float* q_norm;  ///< null: no norm
  const float* k_norm;
  const float* inv_freq;
  std::int32_t first_position;
  const KvCache* cache;
  float* q_out;
  float* gate_out;
};

/// How one attention call is cut into tasks: blocks of rows times ranges of positions times groups of kv heads.
struct AttentionPlan {
  std::int32_t row_block = 1;  ///< rows of a task
  std::int32_t n_row_blocks = 1;
  std::int32_t split = 0;  ///< positions of a task
  std::int32_t n_splits = 1;
  std::int32_t kv_heads = 1;  ///< kv heads of a task
};

struct AttentionArgs {
  const AttentionShape* shape;
  float softmax_scale;
  const float* q;
  const float* gate;  ///< null: no gate
  const KvCache* cache;
  std::int32_t first_visible;
  std::int32_t first_position;
  std::int32_t rows;
  float* out;
  AttentionPlan plan;
  /// [n_kv_heads * n_row_blocks, n_splits, row_block * (n_heads / n_kv_heads) * (head_dim + 2)]; unused with one split
  float* partials;
};

struct DeltaNetArgs {
  const DeltaNetShape* shape;
  const DeltaNetWeights* weights;
  float* qkv;
  const float* z;
  const float* a;
  const float* b;
  std::int32_t rows;
  const DeltaNetState* state;
  float* out;
};

/// Every range is [begin, end). Arguments have been checked; nothing here can fail.
struct Target {
  const char* name;

  /// bf16 weights read `MatmulInput::bf16` instead of `f32`.
  bool bf16_input;
  /// From this many rows on, quantised weights read them interleaved (MatmulInput::row_tile); 1: never.
  std::int32_t row_tile;
  /// Writes rows [begin, end) of x [m, k] in the forms whose pointers `out` has.
  void (*prepare_rows)(const float* x, std::int64_t x_stride, std::int32_t k, const MatmulInput& out,
                       std::int32_t begin, std::int32_t end);
  /// Panels [panel_begin, panel_end) of one term for rows [row_begin, row_end) of the input.
  void (*matmul_panels)(const MatmulTerm& term, const MatmulInput& input, std::int32_t panel_begin,
                        std::int32_t panel_end, std::int32_t row_begin, std::int32_t row_end);

  void (*rms_norm_rows)(const float* x, const float* w, float eps, std::int32_t dim, float* y, std::int32_t begin,
                        std::int32_t end);
  void (*silu_range)(float* x, std::int64_t begin, std::int64_t end);
  void (*silu_multiply_range)(const float* gate, const float* up, float* out, std::int64_t begin, std::int64_t end);
  void (*attention_prepare_rows)(const AttentionPrepareArgs& args, std::int32_t begin, std::int32_t end);
  /// Scratch of one worker, in floats.
  std::int64_t (*attention_scratch)(const AttentionArgs& args);
  /// Tasks 0 ... ceil(n_kv_heads / kv_heads) * n_row_blocks * n_splits, the longest first.
  void (*attention_tasks)(const AttentionArgs& args, std::int32_t begin, std::int32_t end, float* scratch);
  /// After all tasks, with more than one split: merges the partial results of n_kv_heads * n_row_blocks blocks.
  void (*attention_merge)(const AttentionArgs& args, std::int32_t begin, std::int32_t end);
  /// Scratch of one worker, in floats.
  std::int64_t (*delta_net_scratch)(const DeltaNetArgs& args);
  /// The whole mixer for a range of key heads and the value heads that read them: nothing is shared between key heads.
  void (*delta_net_key_heads)(const DeltaNetArgs& args, std::int32_t begin, std::int32_t end, float* scratch);
};

#if defined(PIPO_HAVE_AVX2)
extern const Target kAvx2Target;
#endif
#if defined(PIPO_HAVE_AVXVNNI)
extern const Target kAvxVnniTarget;
#endif
#if defined(PIPO_HAVE_AVX512)
extern const Target kAvx512Target;
#endif
#if defined(PIPO_HAVE_AVX512BF16)
extern const Target kAvx512Bf16Target;
#endif
#if defined(PIPO_HAVE_AMX)
extern const Target kAmxTarget;
#endif
#if defined(PIPO_HAVE_NEON)
extern const Target kNeonTarget;
#endif

}  // namespace pipo::kernels::cpu
