#include <algorithm>
#include <cmath>

#include "kernels/check_shapes.h"
#include "kernels/cpu/cpu_backend.h"

namespace pipo::kernels::cpu {
namespace {

/// Queries (rows times query heads of one kv head) per task: enough to pay for bringing keys and values into fp32.
constexpr int kQueriesPerTask = 64;
/// Positions that are worth a task of their own.
constexpr std::int64_t kShortestSplit = 64;
constexpr std::int64_t kPositionTile = 32;
constexpr int kTasksPerThread = 3;
/// Multiplications below which waking the workers costs more than it saves.
constexpr std::int64_t kWorthSharing = 1 << 18;
constexpr std::int64_t kElementGrain = 8192;

std::int64_t divide_up(std::int64_t n, std::int64_t by) { return (n + by - 1) / by; }

std::int64_t positions_of(const AttentionArgs& args) {
  return static_cast<std::int64_t>(args.first_position) + args.rows - args.first_visible;
}

bool worth_sharing(const AttentionArgs& args) {
  const AttentionShape& shape = *args.shape;
  return 2 * positions_of(args) * args.rows * shape.n_heads * shape.head_dim > kWorthSharing;
}

std::int64_t tasks_per_split(const AttentionArgs& args) {
  return divide_up(args.shape->n_kv_heads, args.plan.kv_heads) * args.plan.n_row_blocks;
}

float softmax_scale(const AttentionShape& shape) {
  return shape.softmax_scale != 0.0f ? shape.softmax_scale : 1.0f / std::sqrt(static_cast<float>(shape.head_dim));
}

/// Long prompts give enough blocks of rows; a decode step over a long context is cut along the context instead, and
/// takes all kv heads at once, which reads the cache from front to back.
AttentionPlan plan_attention(AttentionArgs args, int threads) {
  const AttentionShape& shape = *args.shape;
  const int group = shape.n_heads / shape.n_kv_heads;
  AttentionPlan& plan = args.plan;
  plan.row_block = std::clamp(kQueriesPerTask / group, 1, args.rows);
  plan.n_row_blocks = static_cast<std::int32_t>(divide_up(args.rows, plan.row_block));
  plan.kv_heads = args.rows == 1 ? shape.n_kv_heads : 1;
  const std::int64_t positions = positions_of(args);
  const std::int64_t wanted = threads > 1 && worth_sharing(args) ? kTasksPerThread * threads : 1;
  const std::int64_t splits =
      std::clamp<std::int64_t>(divide_up(wanted, tasks_per_split(args)), 1, divide_up(positions, kShortestSplit));
  // Whole tiles; rounding up may make the last splits superfluous.
  const std::int64_t split = divide_up(divide_up(positions, splits), kPositionTile) * kPositionTile;
  plan.split = static_cast<std::int32_t>(split);
  plan.n_splits = static_cast<std::int32_t>(divide_up(positions, split));
  return plan;
}

}  // namespace

Status CpuBackend::attention_prepare(const AttentionShape& shape, const float* q, const float* k, const float* v,
                                     const float* q_norm, const float* k_norm, const float* inv_freq,
                                     std::int32_t first_position, std::int32_t rows, const KvCache& cache, float* q_out,
                                     float* gate_out) {
  const Status status = check_attention(shape, cache, first_position, first_position, rows);
  if (status != Status::kOk) return status;
  const AttentionPrepareArgs args{&shape, q, k, v, q_norm, k_norm, inv_freq, first_position, &cache, q_out, gate_out};
  const std::int64_t floats_per_row = 2ll * (shape.n_heads + shape.n_kv_heads) * shape.head_dim;
  for_ranges(rows, divide_up(kElementGrain, floats_per_row), [&](std::int64_t begin, std::int64_t end) {
    target_.attention_prepare_rows(args, static_cast<std::int32_t>(begin), static_cast<std::int32_t>(end));
  });
  return Status::kOk;
}

Status CpuBackend::attention(const AttentionShape& shape, const float* q, const float* gate, const KvCache& cache,
                             std::int32_t first_visible, std::int32_t first_position, std::int32_t rows, float* out) {
  const Status status = check_attention(shape, cache, first_visible, first_position, rows);
  if (status != Status::kOk || rows == 0) return status;
  AttentionArgs args{&shape, softmax_scale(shape), q, gate, &cache, first_visible, first_position, rows, out, {},
                     nullptr};
  args.plan = plan_attention(args, threads());
  const AttentionPlan& plan = args.plan;
  const std::int32_t blocks = shape.n_kv_heads * plan.n_row_blocks;
  const auto tasks = static_cast<std::int32_t>(tasks_per_split(args) * plan.n_splits);

  const std::int64_t worker_floats = target_.attention_scratch(args);
  const std::int64_t partial_floats = static_cast<std::int64_t>(plan.row_block) * (shape.n_heads / shape.n_kv_heads) *
                                      (static_cast<std::int64_t>(shape.head_dim) + 2);
  const std::int64_t partials = plan.n_splits > 1 ? blocks * plan.n_splits * partial_floats : 0;
  const std::int64_t floats = threads() * worker_floats + partials;
  auto* scratch = static_cast<float*>(scratch_.reserve(static_cast<std::size_t>(floats) * sizeof(float)));
  if (scratch == nullptr) return Status::kOutOfMemory;
  args.partials = scratch + threads() * worker_floats;

  if (!worth_sharing(args)) {
    target_.attention_tasks(args, 0, tasks, scratch);
  } else {
    pool_.parallel_for(tasks, [&](int task, int worker) {
      target_.attention_tasks(args, task, task + 1, scratch + worker * worker_floats);
    });
  }
  if (plan.n_splits > 1) target_.attention_merge(args, 0, blocks);
  return Status::kOk;
}

}  // namespace pipo::kernels::cpu
