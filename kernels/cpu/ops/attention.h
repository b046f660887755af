#pragma once

#include <cstdint>

#include "kernels/cpu/ops/gemm.h"
#include "kernels/cpu/ops/norm.h"
#include "kernels/cpu/target.h"

/// Attention in tiles of positions with an online softmax. A task owns a block of rows, a range of positions and one or
/// more kv heads. The query heads of one kv head for those rows ("queries" below) share every key and value that is
/// read. What a task finds is a partial result that can be merged with those of other ranges:
///   maximum m and sum l of exp(score - m) per query, and the sum of exp(score - m) * value.
namespace pipo::kernels::cpu::PIPO_TARGET {

/// Positions per tile; a multiple of every target's kLanes.
inline constexpr int kPositionTile = 32;
/// Below every score; finite, so that the difference of two of them is not a NaN.
inline constexpr float kNoScore = -1e30f;

struct AttentionPartial {
  float* sums;     ///< [n_queries, head_dim]
  float* maximum;  ///< [n_queries]
  float* total;    ///< [n_queries]
};

struct AttentionTask {
  int kv_head;
  int first_row, n_queries;  ///< query i is row first_row + i / group, head kv_head * group + i % group
  int first, last;           ///< positions [first, last)
};

static inline int group_of(const AttentionArgs& args) { return args.shape->n_heads / args.shape->n_kv_heads; }

static inline int queries_of_block(const AttentionArgs& args) { return args.plan.row_block * group_of(args); }

/// Offset of query `i`'s head in q, gate and out.
static inline std::int64_t query_offset(const AttentionArgs& args, const AttentionTask& task, int i) {
  const int group = group_of(args);
  const std::int64_t row = task.first_row + i / group;
  return (row * args.shape->n_heads + task.kv_head * group + i % group) * args.shape->head_dim;
}

static inline AttentionPartial partial_at(const AttentionArgs& args, float* data) {
  const std::int64_t queries = queries_of_block(args);
  float* maximum = data + queries * args.shape->head_dim;
  return {data, maximum, maximum + queries};
}

static inline std::int64_t partial_floats(const AttentionArgs& args) {
  return queries_of_block(args) * (static_cast<std::int64_t>(args.shape->head_dim) + 2);
}

static inline AttentionTask task_of_block(const AttentionArgs& args, int kv_head, int block, int split) {
  const int first_row = block * args.plan.row_block;
  const int rows = smaller(args.plan.row_block, args.rows - first_row);
  const int end = args.first_position + first_row + rows;
  const int first = args.first_visible + split * args.plan.split;
  const int last = split + 1 == args.plan.n_splits ? end : smaller(end, first + args.plan.split);
  return {kv_head, first_row, rows * group_of(args), first, last};
}

/// Many queries fill the lanes: scores [positions, queries] = K Q^T needs Q transposed once and no sums across lanes.
/// Few queries (a decode step) would leave lanes empty; there a score is a dot product along the head.
static inline bool queries_fill_lanes(int n_queries) { return n_queries * 2 > kLanes; }

// --- Scores with queries in the lanes -------------------------------------------------------------------------------

/// q [n_queries, head_dim] times the softmax scale -> [head_dim, padded queries]
static void transpose_queries(const AttentionArgs& args, const AttentionTask& task, int padded, float* out) {
  const int dim = args.shape->head_dim;
  const float scale = args.softmax_scale;
  constexpr int kBlock = 16;  // so that what is written stays in the nearest cache until its lines are full
  for (int begin = 0; begin < dim; begin += kBlock) {
    const int end = smaller(begin + kBlock, dim);
    for (int i = 0; i < padded; ++i) {
      const bool real = i < task.n_queries;
      const float* q = real ? args.q + query_offset(args, task, i) : nullptr;
      for (int d = begin; d < end; ++d) out[static_cast<std::int64_t>(d) * padded + i] = real ? q[d] * scale : 0.0f;
    }
  }
}

/// Takes out the scores of positions that a row may not see. scores [count, padded]
static void mask_future(const AttentionArgs& args, const AttentionTask& task, int first, int count, int padded,
                        float* scores) {
  const int newest = args.first_position + task.first_row;  // what the first row of the block sees last
  for (int p = larger(0, newest + 1 - first); p < count; ++p) {
    const int blind = smaller((first + p - newest) * group_of(args), task.n_queries);
    for (int i = 0; i < blind; ++i) scores[static_cast<std::int64_t>(p) * padded + i] = -__builtin_inff();
  }
}

/// scores [count, padded] -> exp(score - maximum); updates maximum and total, and says by what earlier sums shrink.
static void softmax_columns(int count, int padded, float* scores, float* maximum, float* total, float* shrink) {
  for (int i = 0; i < padded; i += kLanes) {
    const F32 before = f32_load(maximum + i);
    F32 now = before;
    for (int p = 0; p < count; ++p) now = f32_max(now, f32_load(scores + p * padded + i));
    const F32 factor = f32_exp(f32_sub(before, now));
    F32 sum = f32_mul(f32_load(total + i), factor);
    for (int p = 0; p < count; ++p) {
      const F32 weight = f32_exp(f32_sub(f32_load(scores + p * padded + i), now));
      f32_store(scores + p * padded + i, weight);
      sum = f32_add(sum, weight);
    }
    f32_store(maximum + i, now);
    f32_store(total + i, sum);
    f32_store(shrink + i, factor);
  }
}

// --- Scores along the head ------------------------------------------------------------------------------------------

static void scale_queries(const AttentionArgs& args, const AttentionTask& task, float* out) {
  const int dim = args.shape->head_dim;
  const F32 scale = f32_set1(args.softmax_scale);
  for (int i = 0; i < task.n_queries; ++i) {
    const float* q = args.q + query_offset(args, task, i);
    for_each_vector(dim, [&](std::int64_t d, int lanes) {
      store_lanes(out + static_cast<std::int64_t>(i) * dim + d, f32_mul(load_lanes(q + d, lanes), scale), lanes);
    });
  }
}

/// Scores of 4 positions for kQueries queries; positions beyond `count` repeat the last one.
template <int kQueries, class Element>
static inline void dot_tile(const float* q, int dim, const RightMatrix<Element>& keys, int position, int count,
                            float* scores) {
  const Element* rows[4];
  for (int p = 0; p < 4; ++p) rows[p] = keys.data + smaller(position + p, count - 1) * keys.row_stride;
  F32 sums[4][kQueries];
  for (int p = 0; p < 4; ++p) {
    for (int i = 0; i < kQueries; ++i) sums[p][i] = f32_zero();
  }
  for_each_vector(dim, [&](std::int64_t d, int lanes) {
    F32 key[4];
    for (int p = 0; p < 4; ++p) {
      key[p] = load_elements(rows[p] + d, lanes);
      prefetch(rows[p] + d + kPositionTile * keys.row_stride);
    }
    for (int i = 0; i < kQueries; ++i) {
      const F32 query = load_lanes(q + static_cast<std::int64_t>(i) * dim + d, lanes);
      for (int p = 0; p < 4; ++p) sums[p][i] = f32_fma(query, key[p], sums[p][i]);
    }
  });
  for (int p = 0; p < 4; ++p) {
    for (int i = 0; i < kQueries; ++i) scores[i * kPositionTile + position + p] = f32_sum(sums[p][i]);
  }
}

/// scores [n_queries, kPositionTile]; positions from `count` on come out below everything.
template <class Element>
static void dot_scores(const float* q, int n_queries, int dim, const RightMatrix<Element>& keys, int count,
                       float* scores) {
  for (int i = 0; i < n_queries;) {
    const float* query = q + static_cast<std::int64_t>(i) * dim;
    float* to = scores + i * kPositionTile;
    const int step = n_queries - i >= 4 ? 4 : n_queries - i >= 2 ? 2 : 1;
    for (int p = 0; p < count; p += 4) {
      if (step == 4) dot_tile<4>(query, dim, keys, p, count, to);
      if (step == 2) dot_tile<2>(query, dim, keys, p, count, to);
      if (step == 1) dot_tile<1>(query, dim, keys, p, count, to);
    }
    i += step;
  }
  for (int i = 0; i < n_queries; ++i) {
    for (int p = count; p < kPositionTile; ++p) scores[i * kPositionTile + p] = -__builtin_inff();
  }
}

static void mask_future_rows(const AttentionArgs& args, const AttentionTask& task, int first, int count,
                             float* scores) {
  for (int i = 0; i < task.n_queries; ++i) {
    const int visible = args.first_position + task.first_row + i / group_of(args) + 1 - first;
    for (int p = larger(0, visible); p < count; ++p) scores[i * kPositionTile + p] = -__builtin_inff();
  }
}

/// As softmax_columns, for scores [n_queries, kPositionTile].
static void softmax_rows(int n_queries, float* scores, float* maximum, float* total, float* shrink) {
  for (int i = 0; i < n_queries; ++i) {
    float* row = scores + i * kPositionTile;
    F32 largest = f32_load(row);
    for (int p = kLanes; p < kPositionTile; p += kLanes) largest = f32_max(largest, f32_load(row + p));
    const float highest = f32_largest(largest);
    const float before = maximum[i];
    const float now = highest > before ? highest : before;
    F32 sum = f32_zero();
    for (int p = 0; p < kPositionTile; p += kLanes) {
      const F32 weight = f32_exp(f32_sub(f32_load(row + p), f32_set1(now)));
      f32_store(row + p, weight);
      sum = f32_add(sum, weight);
    }
    shrink[i] = __builtin_expf(before - now);
    total[i] = total[i] * shrink[i] + f32_sum(sum);
    maximum[i] = now;
  }
}

// --- One task -------------------------------------------------------------------------------------------------------

static void shrink_sums(int n_queries, int dim, const float* shrink, float* sums) {
  for (int i = 0; i < n_queries; ++i) {
    if (shrink[i] == 1.0f) continue;
    const F32 factor = f32_set1(shrink[i]);
    float* row = sums + static_cast<std::int64_t>(i) * dim;
    for_each_vector(dim, [&](std::int64_t d, int lanes) {
      store_lanes(row + d, f32_mul(load_lanes(row + d, lanes), factor), lanes);
    });
  }
}

template <class Element>
static RightMatrix<Element> cache_rows(const AttentionArgs& args, const void* rows, int kv_head, int position) {
  const std::int64_t dim = args.shape->head_dim, stride = args.shape->n_kv_heads * dim;
  return {static_cast<const Element*>(rows) + position * stride + kv_head * dim, stride};
}

/// fp32 rows as they are; bf16 rows widened into `buffer`, so that a block of queries pays for it once.
static inline RightMatrix<float> widen(const RightMatrix<float>& rows, int, int, float*) { return rows; }
inline constexpr int kWidenAhead = 8;
static inline RightMatrix<float> widen(const RightMatrix<std::uint16_t>& rows, int count, int dim, float* buffer) {
  for (int p = 0; p < count; ++p) {
    for_each_vector(dim, [&](std::int64_t d, int lanes) {
      prefetch(rows.data + (p + kWidenAhead) * rows.row_stride + d);
      const F32 value = load_elements(rows.data + p * rows.row_stride + d, lanes);
      store_lanes(buffer + static_cast<std::int64_t>(p) * dim + d, value, lanes);
    });
  }
  return {buffer, dim};
}

/// What a task keeps per kv head while it goes from tile to tile.
struct HeadScratch {
  float* queries;  ///< [head_dim, padded] or [n_queries, head_dim]
  float* maximum;  ///< [padded]
  float* total;    ///< [padded]
  float* partial;  ///< partial_floats
};

struct AttentionScratch {
  float* scores;   ///< [kPositionTile, padded]
  float* shrink;   ///< [padded]
  float* widened;  ///< [kPositionTile, head_dim]
  float* heads;    ///< [kv_heads, head_floats]
  std::int64_t floats;
};

static inline std::int64_t head_floats(const AttentionArgs& args) {
  const std::int64_t padded = round_up(queries_of_block(args), kLanes);
  return padded * (args.shape->head_dim + 2) + (partial_floats(args) + 15) / 16 * 16;
}

static inline HeadScratch head_scratch(const AttentionArgs& args, const AttentionScratch& scratch, int index) {
  const std::int64_t padded = round_up(queries_of_block(args), kLanes);
  float* queries = scratch.heads + index * head_floats(args);
  float* maximum = queries + padded * args.shape->head_dim;
  return {queries, maximum, maximum + padded, maximum + 2 * padded};
}

static inline AttentionScratch attention_scratch_at(const AttentionArgs& args, float* base) {
  const std::int64_t dim = args.shape->head_dim, padded = round_up(queries_of_block(args), kLanes);
  std::int64_t used = 0;
  const auto take = [&](std::int64_t floats) {
    float* at = base != nullptr ? base + used : nullptr;
    used += (floats + 15) / 16 * 16;
    return at;
  };
  AttentionScratch scratch{};
  scratch.scores = take(kPositionTile * padded);
  scratch.shrink = take(padded);
  scratch.widened = take(kPositionTile * dim);
  scratch.heads = take(0);
  take(args.plan.kv_heads * head_floats(args));
  scratch.floats = used;
  return scratch;
}

template <class Element>
static void attend_tile(const AttentionArgs& args, const AttentionTask& task, const AttentionScratch& scratch,
                        const HeadScratch& head, int first, int count, float* sums) {
  const int dim = args.shape->head_dim, n = task.n_queries, padded = round_up(n, kLanes);
  const RightMatrix<Element> keys = cache_rows<Element>(args, args.cache->keys, task.kv_head, first);
  const RightMatrix<Element> values = cache_rows<Element>(args, args.cache->values, task.kv_head, first);
  const float keep = first == task.first ? 0.0f : 1.0f;
  if (queries_fill_lanes(n)) {
    const RightMatrix<float> wide_keys = widen(keys, count, dim, scratch.widened);
    gemm({wide_keys.data, wide_keys.row_stride, 1}, RightMatrix<float>{head.queries, padded}, count, padded, dim, 0.0f,
         scratch.scores, padded);
    mask_future(args, task, first, count, padded, scratch.scores);
    softmax_columns(count, padded, scratch.scores, head.maximum, head.total, scratch.shrink);
    if (keep != 0.0f) shrink_sums(n, dim, scratch.shrink, sums);
    gemm({scratch.scores, 1, padded}, widen(values, count, dim, scratch.widened), n, dim, count, keep, sums, dim);
  } else {
    dot_scores(head.queries, n, dim, keys, count, scratch.scores);
    mask_future_rows(args, task, first, count, scratch.scores);
    softmax_rows(n, scratch.scores, head.maximum, head.total, scratch.shrink);
    if (keep != 0.0f) shrink_sums(n, dim, scratch.shrink, sums);
    gemm({scratch.scores, kPositionTile, 1}, values, n, dim, count, keep, sums, dim);
  }
}

static void start_head(const AttentionArgs& args, const AttentionTask& task, const HeadScratch& head) {
  const int padded = round_up(task.n_queries, kLanes);
  for (int i = 0; i < padded; ++i) {
    head.maximum[i] = kNoScore;
    head.total[i] = 0.0f;
  }
  if (queries_fill_lanes(task.n_queries)) {
    transpose_queries(args, task, padded, head.queries);
  } else {
    scale_queries(args, task, head.queries);
  }
}

/// Merges the partial results of one block over all splits and applies the gates. `partials` [n_splits], used up.
static void finish_block(const AttentionArgs& args, const AttentionTask& task, float* partials) {
  const int n_splits = args.plan.n_splits;
  const std::int64_t floats = partial_floats(args), dim = args.shape->head_dim;
  for (int i = 0; i < task.n_queries; ++i) {
    float highest = kNoScore, total = 0.0f;
    for (int s = 0; s < n_splits; ++s) {
      const float maximum = partial_at(args, partials + s * floats).maximum[i];
      if (maximum > highest) highest = maximum;
    }
    for (int s = 0; s < n_splits; ++s) {
      const AttentionPartial partial = partial_at(args, partials + s * floats);
      const float weight = __builtin_expf(partial.maximum[i] - highest);
      total += weight * partial.total[i];
      partial.maximum[i] = partial.total[i] > 0.0f ? weight : 0.0f;  // a split that sees nothing has no sums
    }
    const std::int64_t offset = query_offset(args, task, i);
    const F32 scale = f32_set1(1.0f / total);
    for_each_vector(dim, [&](std::int64_t d, int lanes) {
      F32 sum = f32_zero();
      for (int s = 0; s < n_splits; ++s) {
        const AttentionPartial partial = partial_at(args, partials + s * floats);
        const float weight = partial.maximum[i];
        if (weight > 0.0f) sum = f32_fma(load_lanes(partial.sums + i * dim + d, lanes), f32_set1(weight), sum);
      }
      F32 result = f32_mul(sum, scale);
      if (args.gate != nullptr) result = f32_mul(result, f32_sigmoid(load_lanes(args.gate + offset + d, lanes)));
      store_lanes(args.out + offset + d, result, lanes);
    });
  }
}

/// Where the partial result of a kv head goes: into the worker's scratch if it is already the whole one.
static inline float* partial_of(const AttentionArgs& args, const HeadScratch& head, int kv_head, int block, int split) {
  const AttentionPlan& plan = args.plan;
  if (plan.n_splits == 1) return head.partial;
  const std::int64_t index = (static_cast<std::int64_t>(kv_head) * plan.n_row_blocks + block) * plan.n_splits + split;
  return args.partials + index * partial_floats(args);
}

/// kv heads [first_kv_head, ...) of one block and split, tile by tile, so that the cache is read in its own order.
static void attend(const AttentionArgs& args, const AttentionScratch& scratch, int first_kv_head, int block,
                   int split) {
  const int kv_heads = smaller(args.plan.kv_heads, args.shape->n_kv_heads - first_kv_head);
  const auto task_of = [&](int h) { return task_of_block(args, first_kv_head + h, block, split); };
  for (int h = 0; h < kv_heads; ++h) start_head(args, task_of(h), head_scratch(args, scratch, h));
  const AttentionTask range = task_of(0);
  for (int first = range.first; first < range.last; first += kPositionTile) {
    const int count = smaller(kPositionTile, range.last - first);
    for (int h = 0; h < kv_heads; ++h) {
      const HeadScratch head = head_scratch(args, scratch, h);
      float* sums = partial_of(args, head, first_kv_head + h, block, split);
      if (args.cache->type == KvType::kF32) {
        attend_tile<float>(args, task_of(h), scratch, head, first, count, sums);
      } else {
        attend_tile<std::uint16_t>(args, task_of(h), scratch, head, first, count, sums);
      }
    }
  }
  for (int h = 0; h < kv_heads; ++h) {
    const HeadScratch head = head_scratch(args, scratch, h);
    float* data = partial_of(args, head, first_kv_head + h, block, split);
    const AttentionPartial partial = partial_at(args, data);
    for (int i = 0; i < range.n_queries; ++i) {
      partial.maximum[i] = head.maximum[i];
      partial.total[i] = head.total[i];
    }
    if (args.plan.n_splits == 1) finish_block(args, task_of(h), data);
  }
}

static std::int64_t attention_scratch(const AttentionArgs& args) { return attention_scratch_at(args, nullptr).floats; }

static void attention_tasks(const AttentionArgs& args, std::int32_t begin, std::int32_t end, float* scratch_base) {
  const AttentionScratch scratch = attention_scratch_at(args, scratch_base);
  const AttentionPlan& plan = args.plan;
  const int parts = (args.shape->n_kv_heads + plan.kv_heads - 1) / plan.kv_heads;
  for (int t = begin; t < end; ++t) {
    const int block = plan.n_row_blocks - 1 - t / (parts * plan.n_splits);  // later rows see more, so they come first
    attend(args, scratch, t / plan.n_splits % parts * plan.kv_heads, block, t % plan.n_splits);
  }
}

static void attention_merge(const AttentionArgs& args, std::int32_t begin, std::int32_t end) {
  const AttentionPlan& plan = args.plan;
  for (std::int64_t i = begin; i < end; ++i) {
    const int kv_head = static_cast<int>(i / plan.n_row_blocks), block = static_cast<int>(i % plan.n_row_blocks);
    finish_block(args, task_of_block(args, kv_head, block, 0),
                 args.partials + i * plan.n_splits * partial_floats(args));
  }
}

}  // namespace pipo::kernels::cpu::PIPO_TARGET
